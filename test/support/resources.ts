// What a running command holds: descriptors and connections as the kernel has them, timers and handles as it says itself.
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import type { Command, CommandOptions } from './command.ts'
import { connectionsTo } from './listening.ts'
import type { HeldInside } from './resources-child.ts'

/** For a command that can be asked. */
export const telling: CommandOptions = {
  nodeArgs: ['--expose-gc', '--import', new URL('./resources-child.ts', import.meta.url).href],
  stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
}

export interface Held extends HeldInside {
  readonly descriptors: number
  readonly agentConnections: number
}

/** @param agentPort where its agent listens */
export async function heldBy({ child, pid }: Command, agentPort: number): Promise<Held> {
  const answer = once(child, 'message')
  child.send('what do you hold?')
  const [inside] = (await answer) as [HeldInside]
  return {
    ...inside,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    agentConnections: connectionsTo(pid, agentPort),
  }
}
