// `sidesplice demo`: two sample services, each bound to loopback, each with its sidecar, certificates made on the spot.
import { Command } from 'commander'

export function demoCommand(): Command {
  return new Command('demo')
    .description('Run two sample services with a sidecar each, to try; Ctrl-C stops all of it.')
    .action(async () => {
      // Only now: a sidecar has no use for what makes certificates.
      const { runDemo } = await import('./demo/run-demo.ts')
      process.exitCode = await runDemo()
      process.exit()
    })
}
