// What the agent does not do, and by which HTTP status it says so; a refusal is an answer, never a defect.
import { SidespliceError } from '../errors.ts'

export class Refusal extends SidespliceError {
  readonly status: number

  constructor(status: number, message: string) {
    super(message, { source: 'agent', code: 'refused' })
    this.name = 'Refusal'
    this.status = status
  }
}

/** As Consul lists what is wrong with a registration. */
export function invalid(...problems: readonly string[]): Refusal {
  const count = problems.length === 1 ? '1 error' : `${problems.length} errors`
  return new Refusal(400, `${count} occurred:\n\t* ${problems.join('\n\t* ')}\n\n`)
}
