import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { reasonOf, ZosError } from '#codec'
import { sleep } from '#sys'
import { type Agent, connectAgent, type ExitStatus, type StartSpec } from '#vm'
import type { WorkloadView } from '#wire'
import { OutputLog } from './output-log.ts'
import type { Machine, Machines, Storage } from './parts.ts'
import { publishPorts } from './ports.ts'
import { restartDelay } from './restart.ts'
import type { Sink } from './sinks.ts'
import type { WorkloadSpec } from './spec.ts'
import { FRESH, folderOf, saveStatus, type WorkloadStatus } from './store.ts'
import type { Volumes } from './volumes.ts'

export type Surroundings = {
  home: string
  machines: Machines
  storage: Storage
  volumes: Volumes
  log: (line: string) => void
}

/** How long file systems may take to settle before the machine is switched off. */
const POWER_OFF_GRACE = 10_000
/** After KILL the guest answers in milliseconds; if not, the machine itself is ended. */
const KILL_GRACE = 5_000

/** One workload from creation to removal: its spec never changes, its status says what is so. */
export class Workload {
  readonly spec: WorkloadSpec
  status: WorkloadStatus
  readonly #at: Surroundings
  #machine: Machine | undefined
  #agent: Agent | undefined
  #log: OutputLog | undefined
  #ports: { close: () => void } | undefined
  #restartTimer: NodeJS.Timeout | undefined
  #starting: Promise<void> | undefined
  readonly #sinks = new Set<Sink>()
  readonly #waiters = new Set<(status: WorkloadStatus) => void>()
  /** Set while the machine of an ended workload is put away. */
  #settled: Promise<void> = Promise.resolve()
  #settling = false
  #removed = false

  constructor(at: Surroundings, spec: WorkloadSpec, status: WorkloadStatus = { ...FRESH }) {
    this.#at = at
    this.spec = spec
    this.status = status
  }

  get folder(): string {
    return folderOf(this.#at.home, this.spec.id)
  }

  get logPath(): string {
    return join(this.folder, 'output.log')
  }

  /** Ended, its machine not yet put away: its volumes are free soon. */
  get ending(): boolean {
    return this.#settling
  }

  get exportId(): string | undefined {
    return this.#machine?.exportId
  }

  get agent(): Agent {
    if (!this.#agent || this.status.state === 'exited' || this.status.state === 'created') {
      throw new ZosError(`Reach workload "${this.spec.name}": it is ${this.status.state}, not running`, {
        code: 'not-running',
      })
    }
    if (this.status.state === 'paused') {
      throw new ZosError(`Reach workload "${this.spec.name}": it is paused; "zos unpause ${this.spec.name}" first`, {
        code: 'paused',
      })
    }
    return this.#agent
  }

  #openLog(): OutputLog {
    this.#log ??= new OutputLog(this.logPath)
    return this.#log
  }

  #save(change: Partial<WorkloadStatus>): Promise<void> {
    this.status = { ...this.status, ...change }
    return this.#removed ? Promise.resolve() : saveStatus(this.#at.home, this.spec, this.status)
  }

  #connect(machine: Machine, fresh: boolean): Promise<Agent> {
    const base = this.status.outputBase
    return connectAgent(machine.agentSocket, {
      fresh,
      resumeFrom: this.#openLog().end - base,
      onOutput: async ({ channel, offset, data }) => {
        const log = this.#openLog()
        const known = Math.max(0, log.end - (base + offset))
        log.append(channel === 'stdout' ? 1 : 2, base + offset, data)
        const fresh = data.subarray(known)
        // written first, so that whoever attached sees nothing that a killed daemon would forget
        if (this.#sinks.size > 0 && fresh.length > 0)
          await Promise.all([...this.#sinks].map((s) => s(channel, Buffer.from(fresh))))
        this.#agent?.ack(offset + data.length)
      },
    })
  }

  /** Starts it in a machine of its own. When it cannot, the status says why and the error is thrown. */
  start(note: (line: string) => void): Promise<void> {
    // a restart by policy and one that was asked for are the same one: never two machines
    this.#starting ??= this.#start(note).finally(() => {
      this.#starting = undefined
    })
    return this.#starting
  }

  async #start(note: (line: string) => void): Promise<void> {
    if (this.status.state === 'running' || this.status.state === 'paused') return
    clearTimeout(this.#restartTimer)
    await this.#settled
    const { spec } = this
    const { storage, machines, volumes } = this.#at
    try {
      const mounts = await volumes.acquire(spec.id, spec.volumes)
      const machine = await machines.get({
        id: spec.id,
        memory: spec.memory,
        cpus: spec.cpus,
        folder: this.folder,
        volumes: mounts,
        note,
      })
      this.#machine = machine
      this.status.outputBase = this.#openLog().end
      const [binding, agent] = await Promise.all([
        storage.bind(machine.exportId, spec.digest),
        this.#connect(machine, machine.fresh),
        spec.ports.length > 0
          ? publishPorts(spec.ports, (guest) => this.dial(guest)).then((p) => {
              this.#ports = p
            })
          : undefined,
      ])
      this.#agent = agent
      await storage.check(machine.exportId, { argv: spec.argv, env: spec.env, cwd: spec.cwd })
      await this.#save({ machine: machine.record })
      await agent.start(this.#startSpec(binding, machine.volumeSerials))
    } catch (error) {
      await this.#failed(error)
      throw error
    }
    await this.#save({
      state: 'running',
      exitCode: null,
      reason: '',
      startedAt: new Date().toISOString(),
      finishedAt: null,
      byHand: false,
    })
    void storage.ready(this.#machine!.exportId).catch(() => {})
    this.#watch()
  }

  async #failed(error: unknown): Promise<void> {
    const code = error instanceof ZosError ? error.details.exitCode : undefined
    const exitCode = typeof code === 'number' ? code : 125
    this.#settle(false)
    await this.#save({
      state: 'exited',
      exitCode,
      reason: reasonOf(error),
      finishedAt: new Date().toISOString(),
      machine: null,
    })
    await this.#settled
    this.#announce()
  }

  #startSpec(root: { root: string; dataBlocks: number; hashStart: number }, serials: string[]): StartSpec {
    const { spec } = this
    return {
      hostname: spec.hostname,
      root: { dataBlocks: root.dataBlocks, hashStart: root.hashStart, rootHash: root.root },
      machineId: randomBytes(16).toString('hex'),
      time: String(BigInt(Date.now()) * 1_000_000n),
      entropy: randomBytes(64).toString('base64'),
      memoryLimit: spec.memory,
      cpus: spec.cpus,
      readOnly: spec.readOnly,
      tmpfs: spec.tmpfs,
      volumes: spec.volumes.map((v, i) => ({ serial: serials[i]!, target: v.target, readOnly: v.readOnly })),
      hosts: `127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\t${spec.hostname}\n`,
      resolvConf: '',
      init: spec.init,
      process: { argv: spec.argv, env: spec.env, cwd: spec.cwd, user: spec.user, tty: spec.tty, stdin: spec.stdin },
    }
  }

  /** Waits in the background for the program or the machine to end, whichever is first. */
  #watch(): void {
    const agent = this.#agent!
    const machine = this.#machine!
    const program = agent.exited.then((exit) => ({ exit }))
    const vm = machine.ended.then((reason) => ({ reason }))
    const line = agent.closed.then(async () => {
      // the program's end closes the line too: it has been told already, or the machine has ended
      await sleep(200)
      return { lost: true as const }
    })
    program.catch(() => {})
    void Promise.race([Promise.race([program, vm]).catch(() => vm), line]).then((end) => {
      if (this.#agent !== agent || this.#removed) return undefined
      if ('lost' in end) return this.#reconnect(machine)
      return 'exit' in end
        ? this.#ended(end.exit)
        : this.#ended({ code: 137, signal: 'KILL', oom: false, reason: `its machine ended: ${end.reason}` })
    })
  }

  async #reconnect(machine: Machine): Promise<void> {
    try {
      this.#agent = await this.#connect(machine, false)
      this.#watch()
    } catch (error) {
      const reason = await Promise.race([machine.ended, sleep(1000).then(() => '')])
      await this.#ended({
        code: 137,
        signal: 'KILL',
        oom: false,
        reason: reason ? `its machine ended: ${reason}` : `its machine does not answer: ${reasonOf(error)}`,
      })
    }
  }

  async #ended(exit: ExitStatus): Promise<void> {
    if (this.status.state === 'exited') return
    const ran = Date.now() - Date.parse(this.status.startedAt ?? new Date().toISOString())
    const delay = restartDelay(this.spec.restart, {
      exitCode: exit.code,
      byHand: this.status.byHand,
      ran,
      restarts: this.status.restarts,
    })
    this.#settle(true)
    const reason = exit.oom ? `out of memory: it used more than its ${this.spec.memory >> 20} MiB` : exit.reason
    await this.#save({
      state: 'exited',
      exitCode: exit.code,
      reason,
      finishedAt: new Date().toISOString(),
      machine: null,
    })
    this.#announce()
    if (delay === undefined) return
    this.#restartTimer = setTimeout(() => {
      this.status.restarts++
      this.start(() => {}).catch((error: unknown) => this.#at.log(`restart ${this.spec.name}: ${reasonOf(error)}`))
    }, delay)
  }

  #announce(): void {
    for (const waiter of this.#waiters) waiter(this.status)
    this.#waiters.clear()
  }

  /** Puts the machine away in the background; `start` and removal wait for it. */
  #settle(clean: boolean): void {
    const [machine, agent] = [this.#machine, this.#agent]
    this.#machine = undefined
    this.#agent = undefined
    this.#ports?.close()
    this.#ports = undefined
    this.#settling = true
    // what nobody will read again need not be written back
    const keeps = clean && (this.spec.volumes.some((v) => !v.readOnly) || !this.spec.remove)
    const putAway = async () => {
      try {
        if (keeps && agent)
          await Promise.race([agent.powerOff(0).catch(() => {}), machine?.ended, sleep(POWER_OFF_GRACE)])
        await machine?.destroy()
        await agent?.[Symbol.asyncDispose]()
      } catch (error) {
        this.#at.log(`put away ${this.spec.name}: ${reasonOf(error)}`)
      } finally {
        this.#log?.close()
        this.#log = undefined
        this.#at.volumes.release(this.spec.id)
        this.#settling = false
      }
    }
    this.#settled = putAway()
  }

  /** Takes up a workload an earlier daemon left running. */
  async adopt(): Promise<void> {
    if (this.status.state !== 'running' && this.status.state !== 'paused') return
    const { spec } = this
    try {
      const mounts = await this.#at.volumes.acquire(spec.id, spec.volumes)
      const machine = await this.#at.machines.adopt(this.status.machine, {
        id: spec.id,
        memory: spec.memory,
        cpus: spec.cpus,
        folder: this.folder,
        volumes: mounts,
      })
      if (!machine)
        return await this.#ended({
          code: 137,
          signal: 'KILL',
          oom: false,
          reason: 'its machine ended while no daemon ran',
        })
      this.#machine = machine
      await this.#at.storage.bind(machine.exportId, spec.digest)
      if (this.status.state === 'paused') await machine.resume()
      this.#agent = await this.#connect(machine, false)
      if (this.status.state === 'paused') await machine.pause()
      if (spec.ports.length > 0) this.#ports = await publishPorts(spec.ports, (guest) => this.dial(guest))
      this.#watch()
    } catch (error) {
      this.#at.log(`adopt ${spec.name}: ${reasonOf(error)}`)
      if (this.#machine && !this.#agent) await this.#reconnect(this.#machine)
    }
  }

  /** After the daemon came up: what should always run, and no person stopped, starts again. */
  resumePolicy(): void {
    const always = this.spec.restart.name === 'always' || this.spec.restart.name === 'unless-stopped'
    if (this.status.state !== 'exited' || !always || this.status.byHand) return
    this.start(() => {}).catch((error: unknown) => this.#at.log(`start ${this.spec.name}: ${reasonOf(error)}`))
  }

  /** Calls SINK with output from now on; returns how to stop. */
  attach(sink: Sink): () => void {
    this.#sinks.add(sink)
    return () => this.#sinks.delete(sink)
  }

  dial(port: number): Promise<Duplex> {
    return this.agent.dial(port)
  }

  /** Resolves when it is not running (any more). */
  waitExit(): Promise<WorkloadStatus> {
    if (this.status.state === 'exited') return Promise.resolve(this.status)
    return new Promise((resolve) => this.#waiters.add(resolve))
  }

  async signal(name: string): Promise<void> {
    await this.agent.signal(name)
  }

  /** The stop signal, TIMEOUT seconds of grace, then KILL. */
  async stop(timeout = this.spec.stopTimeout): Promise<void> {
    clearTimeout(this.#restartTimer)
    await this.#starting?.catch(() => {})
    if (this.status.state === 'paused') await this.unpause()
    if (this.status.state !== 'running') return
    await this.#save({ byHand: true })
    const gone = this.waitExit()
    await this.agent.signal(this.spec.stopSignal)
    if ((await Promise.race([gone, sleep(timeout * 1000)])) === undefined) await this.kill()
    await gone
    await this.#settled
  }

  /** KILL, whatever state it is in; exit code 137. */
  async kill(): Promise<void> {
    clearTimeout(this.#restartTimer)
    if (this.status.state !== 'running' && this.status.state !== 'paused') {
      throw new ZosError(`Kill workload "${this.spec.name}": it is ${this.status.state}, not running`, {
        code: 'not-running',
      })
    }
    const gone = this.waitExit()
    await this.#save({ byHand: true })
    if (this.status.state === 'running') await this.#agent?.signal('KILL').catch(() => {})
    if (this.status.state === 'paused' || (await Promise.race([gone, sleep(KILL_GRACE)])) === undefined)
      await this.#machine?.destroy()
    await gone
    await this.#settled
  }

  async pause(): Promise<void> {
    void this.agent
    await this.#machine!.pause()
    await this.#save({ state: 'paused' })
  }

  async unpause(): Promise<void> {
    if (this.status.state !== 'paused') {
      throw new ZosError(`Unpause workload "${this.spec.name}": it is ${this.status.state}, not paused`, {
        code: 'not-paused',
      })
    }
    await this.#machine!.resume()
    await this.#save({ state: 'running' })
  }

  /** The node goes down: its machine goes, it stays. */
  async halt(): Promise<void> {
    clearTimeout(this.#restartTimer)
    if (this.status.state === 'running' || this.status.state === 'paused') {
      if (this.status.state === 'paused') await this.#machine?.resume().catch(() => {})
      this.#settle(true)
      await this.#save({
        state: 'exited',
        exitCode: 137,
        reason: 'the node went down',
        finishedAt: new Date().toISOString(),
        machine: null,
      })
      this.#announce()
    }
    await this.#settled
  }

  /** Ends it if need be and forgets it. */
  async remove(force: boolean): Promise<void> {
    if (this.status.state === 'running' || this.status.state === 'paused') {
      if (!force) {
        throw new ZosError(
          `Remove workload "${this.spec.name}": it is ${this.status.state}; stop it first, or "zos rm -f"`,
          { code: 'still-running' },
        )
      }
      this.#removed = true
      this.#settle(false)
      this.status = { ...this.status, state: 'exited', exitCode: 137, reason: 'removed', machine: null }
      this.#announce()
    }
    clearTimeout(this.#restartTimer)
    this.#removed = true
    await this.#settled
    rmSync(this.folder, { recursive: true, force: true })
  }

  view(): WorkloadView {
    const { spec, status } = this
    return {
      id: spec.id,
      name: spec.name,
      image: spec.image,
      state: status.state,
      exitCode: status.state === 'exited' ? status.exitCode : null,
      reason: status.reason,
      pid: this.#machine?.pid ?? null,
      createdAt: spec.createdAt,
      startedAt: status.startedAt,
      finishedAt: status.finishedAt,
      restarts: status.restarts,
      ports: spec.ports.map((p) => `${p.address}:${p.host}->${p.guest}`),
      command: spec.argv.join(' '),
      memory: spec.memory,
    }
  }
}
