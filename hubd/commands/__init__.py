"""The commands of `hubd`. What one needs is imported when it runs, so that `hubd --help` is quick."""
