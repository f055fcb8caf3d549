// Node's debugger, closed where a signal opened it before our handler stood.
import inspector from 'node:inspector'

// Between the signal and the debugger's listening Node's own signal thread and a turn of the loop pass.
const looks = 3
const betweenLooksMs = 15

/** To be awaited before any key is read. A debugger that the operator asked for by name (--inspect) stays. */
export async function closeUnaskedInspector(): Promise<void> {
  if (asked()) return
  for (let look = 0; look < looks; look++) {
    if (inspector.url() !== undefined) inspector.close()
    await new Promise(resolve => setTimeout(resolve, betweenLooksMs))
  }
  if (inspector.url() !== undefined) inspector.close()
}

function asked(): boolean {
  return [...process.execArgv, process.env.NODE_OPTIONS ?? ''].some(text => text.includes('--inspect'))
}
