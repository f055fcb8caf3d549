// `sidesplice demo`: two sample services, each bound to loopback, each with its sidecar, certificates made on the spot.
import { Command } from 'commander'
import { runDemo } from './demo/run-demo.ts'

export function demoCommand(): Command {
  return new Command('demo')
    .description('Run two sample services with a sidecar each, to try; Ctrl-C stops all of it.')
    .action(async () => {
      process.exitCode = await runDemo()
      process.exit()
    })
}
