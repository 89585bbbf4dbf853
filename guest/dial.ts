import { Frame } from '../src/vm/agent/protocol.ts'
import { arm, OUT, unwatch, watch } from './loop.ts'
import { close, E, errnoText, must, O, sys } from './native.ts'
import { currentHost, openSession } from './session.ts'
import type { Answer } from './workload.ts'

const AF = { INET: 2, INET6: 10 }

function address(port: number, host: string): Uint8Array {
  const six = host === '::1'
  // struct sockaddr_in, sockaddr_in6: the port is big-endian
  const bytes = new Uint8Array(six ? 28 : 16)
  bytes[0] = six ? AF.INET6 : AF.INET
  bytes[2] = port >> 8
  bytes[3] = port & 0xff
  if (six) bytes[23] = 1
  else bytes.set([127, 0, 0, 1], 4)
  return bytes
}

/** TCP to the guest's own loopback, for port forwards. */
export function dial(stream: number, port: number, host: string, answer: Answer): void {
  const asker = currentHost()
  const to = address(port, host)
  // SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK
  const fd = must('Make a socket', sys('socket', to[0]!, 1 | O.CLOEXEC | O.NONBLOCK, 0))
  const done = (errno: number) => {
    if (errno !== 0) {
      close(fd)
      answer({
        code: errno === E.ECONNREFUSED ? 'refused' : 'dial-failed',
        message: `Connect to port ${port} in the guest: ${errnoText(errno)}`,
      })
      return
    }
    sys('setsockopt', fd, 6, 1, Uint8Array.of(1, 0, 0, 0), 4) // TCP_NODELAY: what is forwarded was already gathered once
    const other = must('Copy a descriptor', sys('fcntl', fd, 1030, 3))
    openSession({
      host: asker,
      stream,
      pid: 0,
      input: other,
      outputs: [{ fd, type: Frame.data }],
      connection: true,
      finish: (input) => {
        unwatch(input)
        sys('shutdown', input, 1)
        close(input)
      },
    })
    answer(null)
  }
  const result = sys('connect', fd, to, to.length)
  if (result !== -E.EINPROGRESS) {
    done(-result)
    return
  }
  watch(fd, () => {
    unwatch(fd)
    const value = new Uint8Array(8)
    value[4] = 4
    sys('getsockopt', fd, 1, 4, value, value.subarray(4)) // SO_ERROR
    done(value[0]!)
  })
  arm(fd, OUT)
}
