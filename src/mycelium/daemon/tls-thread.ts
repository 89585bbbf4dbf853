import { parentPort, workerData } from 'node:worker_threads'
import { reasonOf } from '#codec'
import type { PrivateNetwork } from './network-key.ts'
import { secure } from './private-network.ts'
import type { Secured, Securing } from './protocol.ts'

// Where connections of a private network become TLS: what is there may do nothing but speak on the sockets it is handed.
const parent = parentPort!
const network = workerData as PrivateNetwork
if (process.permission?.has('ffi') !== false) throw new Error('TLS is not spoken where node:ffi is at hand')

parent.on('message', async ({ connection, fd, plainFd, client }: Securing) => {
  let failure: string | undefined
  try {
    await secure(network, fd, plainFd, client)
  } catch (error) {
    failure = reasonOf(error)
  }
  parent.postMessage({ connection, failure } satisfies Secured)
})
