/** Does one thing after another, in the order in which they were given. A failure is that one's own. */
export function oneAtATime(): <Result>(work: () => Promise<Result>) => Promise<Result> {
  let last: Promise<unknown> = Promise.resolve()

  return (work) => {
    const mine = last.then(work)
    last = mine.catch(() => {})
    return mine
  }
}
