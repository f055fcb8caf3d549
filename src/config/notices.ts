// What is asked for and does not happen: each said once in the log, and listed for as long as it is asked for.

// The catalog has a part in the texts, and whoever may register writes in it: beyond this many they are forgotten, and may be said again.
const keptTexts = 1_000

export class Notices {
  readonly #warn: (message: string) => void
  readonly #said = new Set<string>()
  #listed = new Set<string>()

  constructor(warn: (message: string) => void) {
    this.#warn = warn
  }

  /** What was asked for is read anew: what is not noted again is not asked for any more. */
  begin(): void {
    this.#listed = new Set()
  }

  note(message: string): void {
    this.#listed.add(message)
    this.say(message)
  }

  /** Once for each different text, and not listed: what happened, not what is asked for. */
  say(message: string): void {
    if (this.#said.has(message)) return
    if (this.#said.size >= keptTexts) this.#said.clear()
    this.#said.add(message)
    this.#warn(message)
  }

  list(): readonly string[] {
    return [...this.#listed]
  }
}
