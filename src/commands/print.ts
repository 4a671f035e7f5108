/** Writes one line of a command's answer. */
export const print = (line: string): void => void process.stdout.write(`${line}\n`)

/** Writes one line for the person at the terminal, apart from an answer that may go on to another program. */
export const tell = (line: string): void => void process.stderr.write(`${line}\n`)

/** Rows in columns, as wide as their longest cell; the last column is as long as it is. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  return rows.map((row) =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  )
}

/** A text that others chose, for a terminal: without the control characters that could rewrite what stands there. */
export const visible = (text: string): string => text.replaceAll(/[\p{Cc}\p{Bidi_Control}]/gu, '\u{fffd}')
