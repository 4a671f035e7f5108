/**
 * One environment variable. `parse` gets the text, or undefined where it is not set; it returns the value or throws an
 * `Error` whose message says what was expected (without the value itself: it may be a secret).
 */
export type Setting<Value = unknown> = {
  describe: string
  /** Never printed, and read from NAME_FILE by preference. */
  secret?: boolean
  /** The text that is parsed where the variable is not set; shown in the documentation. */
  default?: string
  parse: (text: string | undefined) => Value
}
