// @ts-check
/** The few things that every part of the page needs. Text from outside goes in as text, never as markup. */

/** The part of the page with this test id. @param {string} testId @returns {any} */
export function part(testId) {
  return document.querySelector(`[data-testid="${testId}"]`);
}

/**
 * Makes an element. Strings among the children become text nodes; what is null is left out.
 * @param {string} tag @param {Record<string, string>} attributes @param {(Node | string | null | undefined)[]} children
 * @returns {any}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/**
 * A link target from a notification, if it is one that can do no harm.
 * @param {unknown} url @returns {string | null}
 */
export function safeUrl(url) {
  if (typeof url !== "string" || url === "") return null;
  try {
    const { protocol, href } = new URL(url, location.href);
    return protocol === "https:" || protocol === "http:" ? href : null;
  } catch {
    return null;
  }
}

/** @param {number} ms since 1970 */
export function timeOfDay(ms) {
  return new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

/** A round initial, coloured by the name, so that one person looks the same everywhere. @param {string} name */
export function avatar(name) {
  let sum = 0;
  for (const letter of name) sum = (sum * 31 + letter.charCodeAt(0)) % 997;
  return make("span", { class: `avatar hue-${sum % 6}`, "aria-hidden": "true" }, name.slice(0, 1).toUpperCase());
}

/** A person by whose name one can write to him. @param {string} name @param {(name: string) => void} choose */
export function person(name, choose) {
  const button = make("button", { type: "button", class: "person", title: `Write to ${name}` }, avatar(name), name);
  button.addEventListener("click", () => choose(name));
  return button;
}
