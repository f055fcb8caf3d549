// `sidesplice demo`: the embedded agent, two sample services bound to loopback, and their managed proxies.
import { Command } from 'commander'

export function demoCommand({ version }: { readonly version: string }): Command {
  return new Command('demo')
    .description(
      'Run the embedded agent with two sample services and their proxies, to try; Ctrl-C stops all of it.',
    )
    .action(async () => {
      // Only now: a sidecar has no use for what makes certificates.
      const { runDemo } = await import('./demo/run-demo.ts')
      process.exitCode = await runDemo(version)
      process.exit()
    })
}
