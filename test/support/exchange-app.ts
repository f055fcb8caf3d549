// An app that can be killed: one line in, one answer out, on each connection. `node exchange-app.ts PORT NAME [greeting]`; with
// a greeting it speaks first.
import net from 'node:net'
import { answerTo } from './exchanges.ts'

const [port, name = '', greeting] = process.argv.slice(2)
net
  .createServer({ noDelay: true }, socket => {
    let asked = ''
    socket.setEncoding('latin1')
    if (greeting !== undefined) socket.write(`${greeting}\n`)
    socket.on('data', (text: string) => {
      asked += text
      if (asked.endsWith('\n')) socket.write(answerTo(asked.trimEnd(), name))
    })
    socket.on('error', () => {})
  })
  .listen({ host: '127.0.0.1', port: Number(port), backlog: 4096 })
