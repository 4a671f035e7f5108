/** Beside the engine, so that the main thread does not load it for the sake of a word. */
export const MAX_OUTPUT_BYTES = 256 * 1024
export const TOO_LARGE = `the message is larger than ${MAX_OUTPUT_BYTES / 1024} KB`
export const TOO_SLOW = 'the template takes too long'
export const TOO_MUCH_MEMORY = 'the template asks for too much memory'
