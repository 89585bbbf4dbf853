import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { codeOf, reasonOf, ZosError } from '#codec'
import { deploymentId, readDeployment } from '#contract'
import { slotName } from '#node'
import { openUnix } from '#sys'
import { places } from '#wire'
import { parseFlags } from '../flags.ts'
import { groupOfDeployment, nodesOf, openContext } from './context.ts'
import { type DeploymentView, viewOf } from './deployment_status.ts'
import { factsOfLocal, nodeHome } from './local.ts'
import { isSame, reachedSlots } from './way.ts'

const CONNECTIONS = 256

type Target = { group: `0x${string}`; name: string; slot: number; port: number }
type Context = Awaited<ReturnType<typeof openContext>>

/** The compute socket of the node that has the slot now: in a local grid every node's is on this machine. */
async function whereIs(context: Context, { group, name, slot }: Target): Promise<string> {
  const d = await readDeployment(context.grid, group, name)
  // a standby that runs has taken over
  const both = d.slots.filter((s) => s.index === slot)
  const placed = both.find((s) => s.standby && s.phase === 'running') ?? both.find((s) => !s.standby)
  if (!placed) throw noSlot(name, slot)
  const node = (await nodesOf(context)).find((n) => n.id === placed.node)!
  return join(places({ ZOS_HOME: nodeHome(node.name) }).run, 'compute.sock')
}

const noSlot = (name: string, slot: number) =>
  new ZosError(`Forward to "${name}/${slot}": there is no such slot`, { code: 'no-slot' })

/** What `zos status` knows of a slot that its node does not run, and what to do about it. */
export function notRunning({ name, state, slots }: DeploymentView, slot: number): ZosError {
  const found = slots.find((s) => s.slot === slot && !s.standby)
  const refuse = (what: string) => new ZosError(`Forward to "${name}/${slot}": ${what}`, { code: 'not-running' })
  if (state === 'frozen') return refuse(`it is frozen with its deployment; "zos thaw ${name}" lets it run again`)
  if (state !== 'running') return refuse(`its deployment is ${state}; "zos status ${name}" shows it`)
  if (!found) return noSlot(name, slot)
  if (found.state === 'running')
    return refuse(`its node does not run it now, though it last said so; try again, or look at "zos status ${name}"`)
  const why = found.reason && `: ${found.reason}`
  const remedy =
    found.state === 'reserved' ? 'shows when it runs' : 'shows more, and "zos deploy" brings another version'
  return refuse(`it is ${found.state}, not running${why}; "zos status ${name}" ${remedy}`)
}

/** For a node to open a way into a guest; one that is stopped never does. Milliseconds. */
const DIAL = 20_000

/** On the machine of a local grid: through the node's unix socket and the guest's agent. */
async function byNode(context: Context, target: Target): Promise<() => Promise<Duplex>> {
  const path = `/slots/${slotName(deploymentId(target.group, target.name), target.slot)}/dial`
  let socket = await whereIs(context, target)
  const open = () => openUnix(socket, path, { port: target.port }, DIAL)
  return async () => {
    try {
      return await open()
    } catch (error) {
      // it may have moved to another node
      const now = await whereIs(context, target)
      const isThere = now === socket
      socket = now
      try {
        if (isThere) throw error
        return await open()
      } catch (last) {
        if (codeOf(last) === 'deadline')
          throw new ZosError(
            `Forward to "${target.name}/${target.slot}": its node does not answer; "zos grid status" shows it`,
            { code: 'deadline', cause: last },
          )
        // the node knows the slot by an id of its own
        if (codeOf(last) !== 'not-running') throw last
        throw notRunning(await viewOf(context, target.group, target.name), target.slot)
      }
    }
  }
}

const REFUSALS: Record<string, string> = {
  EACCES: 'its rules do not let you in there, or it is not among its "ports"',
  ECONNREFUSED: "nothing listens there on the workload's address",
}

/**
 * On a machine that joined: to the workload's own address, through the interface of `zos join`, so that its rules decide as
 * over any other connection of the person.
 */
async function byOverlay({ group, name, slot, port }: Target): Promise<() => Promise<Duplex>> {
  const addressNow = async () => {
    const slots = await reachedSlots()
    if (!slots)
      throw new ZosError(
        `Forward to "${name}/${slot}": its node is not of this machine; "zos join" leads there, and must run`,
        { code: 'not-joined' },
      )
    const found = slots.find((s) => s.group === group && s.deployment === name && s.slot === slot)
    if (!found) throw noSlot(name, slot)
    return found.address
  }
  await addressNow()
  return async () => {
    const socket = connect({ host: await addressNow(), port, allowHalfOpen: true })
    try {
      await once(socket, 'connect')
    } catch (cause) {
      const reason = REFUSALS[codeOf(cause)] ?? reasonOf(cause)
      throw new ZosError(`Forward to port ${port} of "${name}/${slot}": ${reason}`, { code: 'not-reached', cause })
    }
    return socket
  }
}

/** `zos forward D/N [HOST:]PORT:GUEST`: listens here, on the person's machine; the node listens on nothing. */
export default async function forward(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('forward', args, { group: { kind: 'value', about: 'by name or id' } })
  const [target = '', ports = ''] = rest
  const [, name, slotText] = /^([a-z0-9-]+)\/(\d{1,3})$/.exec(target) ?? []
  const [, host, port, guest] = /^(?:([0-9.]+):)?(\d{1,5}):(\d{1,5})$/.exec(ports) ?? []
  if (!name || !port || Number(port) > 65535 || Number(guest) > 65535 || Number(guest) === 0 || rest.length !== 2)
    throw new ZosError('zos forward: write zos forward DEPLOYMENT/SLOT PORT:GUESTPORT', { code: 'usage' })
  await using context = await openContext()
  const { group } = await groupOfDeployment(context, name, flags.group)
  const to: Target = { group, name, slot: Number(slotText), port: Number(guest) }
  const local = factsOfLocal()
  const isHere = local !== undefined && isSame(local, context.facts)
  const dial = await (isHere ? byNode(context, to) : byOverlay(to))
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
  process.stderr.write(
    `zos: ${address}:${(server.address() as AddressInfo).port} leads to port ${guest} of ${target}; Ctrl-C ends it\n`,
  )
  return await new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.on(signal, () => {
        server.close()
        resolve(0)
        process.exit(0)
      })
  })
}
