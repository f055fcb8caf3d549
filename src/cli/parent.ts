// A proxy that is not to outlive who started it: its standard input is a pipe of theirs, which closes however they end.

/** Stops as by two signals: nobody is there any more who would wait for a drain. */
export function endWithStdin(): void {
  process.stdin.on('error', end)
  process.stdin.on('end', end)
  process.stdin.resume()
}

function end(): void {
  process.kill(process.pid, 'SIGTERM')
  setImmediate(() => process.kill(process.pid, 'SIGTERM'))
}
