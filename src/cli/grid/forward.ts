import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { codeOf, reasonOf, ZosError } from '#codec'
import { deploymentId, readDeployment } from '#contract'
import { slotName } from '#node'
import { openUnix } from '#sys'
import { places } from '#wire'
import { parseFlags } from '../flags.ts'
import { groupOfDeployment, nodesOf, openContext } from './context.ts'
import { nodeHome } from './local.ts'

const CONNECTIONS = 256

/** The compute socket of the node that has the slot now: in a local grid every node's is on this machine. */
async function whereIs(
  context: Awaited<ReturnType<typeof openContext>>,
  group: `0x${string}`,
  name: string,
  slot: number,
): Promise<string> {
  const d = await readDeployment(context.grid, group, name)
  // a standby that runs has taken over
  const both = d.slots.filter((s) => s.index === slot)
  const placed = both.find((s) => s.standby && s.phase === 'running') ?? both.find((s) => !s.standby)
  if (!placed) throw new ZosError(`Forward to "${name}/${slot}": there is no such slot`, { code: 'no-slot' })
  const node = (await nodesOf(context)).find((n) => n.id === placed.node)!
  return join(places({ ZOS_HOME: nodeHome(node.name) }).run, 'compute.sock')
}

/** `zos forward D/N [HOST:]PORT:GUEST`: listens here, on the person's machine; the node listens on nothing. */
export default async function forward(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('forward', args, { group: { kind: 'value', about: 'by name or id' } })
  const [target = '', ports = ''] = rest
  const [, name, slotText] = /^([a-z0-9-]+)\/(\d{1,3})$/.exec(target) ?? []
  const [, host, port, guest] = /^(?:([0-9.]+):)?(\d{1,5}):(\d{1,5})$/.exec(ports) ?? []
  if (!name || !port || Number(port) > 65535 || Number(guest) > 65535 || rest.length !== 2)
    throw new ZosError('zos forward: write zos forward DEPLOYMENT/SLOT PORT:GUESTPORT', { code: 'usage' })
  const context = await openContext()
  const { group } = await groupOfDeployment(context, name, flags.group)
  const slot = Number(slotText)
  const path = `/slots/${slotName(deploymentId(group, name), slot)}/dial`
  let socket = await whereIs(context, group, name, slot)
  const dial = async () => {
    try {
      return await openUnix(socket, path, { port: Number(guest) })
    } catch (error) {
      // it may have moved to another node
      const now = await whereIs(context, group, name, slot)
      if (now === socket) throw error
      socket = now
      return openUnix(socket, path, { port: Number(guest) })
    }
  }
  const carry = async (client: Socket) => {
    client.on('error', () => {})
    try {
      const stream = await dial()
      stream.on('error', () => {})
      await Promise.allSettled([pipeline(client, stream), pipeline(stream, client)])
    } catch (error) {
      process.stderr.write(`zos: ${reasonOf(error)}\n`)
      client.resetAndDestroy()
    }
  }
  const server = createServer({ allowHalfOpen: true }, (client) => void carry(client))
  server.maxConnections = CONNECTIONS
  const address = host ?? '127.0.0.1'
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new ZosError(
          codeOf(cause) === 'EADDRINUSE'
            ? `Forward port ${port}: something else listens on it; choose another one`
            : `Forward port ${port}: ${reasonOf(cause)}`,
          { code: 'port-taken', cause },
        ),
      ),
    )
    server.listen(Number(port), address, resolve)
  })
  process.stderr.write(`zos: ${address}:${port} leads to port ${guest} of ${target}; Ctrl-C ends it\n`)
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.on(signal, () => {
        server.close()
        resolve(0)
        process.exit(0)
      })
  })
}
