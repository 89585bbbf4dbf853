import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { codeOf, reasonOf } from '#codec'
import { CACHE } from '#node'
import { tryRun } from '#sys'
import { awaitAgent, openVmHost, type VmHost } from '#vm'
import { places } from '#wire'
import { JSON_FLAG, onlyFlags } from './flags.ts'
import { ensureNodeSetup } from './setup/index.ts'
import { missingPackages } from './setup/packages.ts'
import { bytesText } from './terminal.ts'

type Finding = { what: string; ok: boolean; needed: boolean; says: string; fix?: string }

/** What to do about a machine that has no KVM for REASON. */
export function fasterBy(reason: string): string {
  return `works, slower; ${
    /EACCES|EPERM/.test(reason)
      ? 'who is in its group may use KVM: as root "usermod -aG kvm USER", then log in anew'
      : 'for full speed use a machine whose /dev/kvm runs a stock kernel'
  }`
}

async function guestFindings(): Promise<Finding[]> {
  try {
    const guest = await ensureNodeSetup()
    const scratch = mkdtempSync(join(tmpdir(), 'zos-doctor-'))
    let host: VmHost
    try {
      host = await openVmHost({ home: scratch, runDir: join(scratch, 'run'), cacheDir: CACHE, ...guest, awaitAgent })
      await host[Symbol.asyncDispose]()
    } finally {
      rmSync(scratch, { recursive: true, force: true })
    }
    return [
      { what: 'guest kernel', ok: true, needed: true, says: guest.kernel.version },
      {
        what: 'machines',
        ok: true,
        needed: true,
        says: host.accelReason,
        ...(host.accel === 'kvm' ? {} : { fix: fasterBy(host.accelReason) }),
      },
    ]
  } catch (error) {
    return [{ what: 'guest kernel', ok: false, needed: true, says: reasonOf(error), fix: './zos setup' }]
  }
}

async function findings(): Promise<Finding[]> {
  const root = process.getuid?.() === 0
  const release = existsSync('/etc/os-release')
    ? /^PRETTY_NAME="?(.*?)"?$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]
    : undefined
  const missing = await missingPackages(['run'])
  const packages: Finding = {
    what: 'packages',
    ok: missing.length === 0,
    needed: true,
    says: missing.length === 0 ? 'all there' : `missing: ${missing.map((m) => m.package).join(' ')}`,
    ...(missing.length > 0
      ? {
          fix: `${root ? '' : 'sudo '}apt-get install -y --no-install-recommends ${missing.map((m) => m.package).join(' ')}`,
        }
      : {}),
  }
  const qemu = await tryRun('qemu-system-x86_64', ['--version']).catch(() => undefined)
  const version = /version (\S+)/.exec(qemu?.stdout.toString() ?? '')?.[1]
  return [
    {
      what: 'system',
      ok: true,
      needed: true,
      says: `${release ?? 'unknown'}, ${process.arch}, ${bytesText(totalmem())} memory`,
    },
    {
      what: 'user',
      ok: root,
      needed: false,
      says: root ? 'root: each microVM has its own user and no network' : 'not root',
      ...(root ? {} : { fix: 'run as root, so that each microVM gets a user of its own' }),
    },
    packages,
    {
      what: 'qemu',
      ok: version !== undefined,
      needed: true,
      says: version ?? 'not there',
      ...(version ? {} : { fix: './zos setup' }),
    },
    ...(missing.length === 0 ? await guestFindings() : []),
    {
      what: 'state',
      ok: true,
      needed: true,
      says: `${places().home} (hub: ${process.env.ZOS_HUB ?? 'the local store itself'})`,
    },
  ]
}

/** Exit 0 when a workload can run here. */
export default async function doctor(args: string[]): Promise<number> {
  const flags = onlyFlags('doctor', args, { json: JSON_FLAG })
  const found = await findings().catch((error: unknown): Finding[] => [
    { what: codeOf(error) || 'doctor', ok: false, needed: true, says: reasonOf(error) },
  ])
  if (flags.json) process.stdout.write(`${JSON.stringify(found)}\n`)
  else {
    for (const f of found) {
      process.stdout.write(`${f.ok ? 'ok  ' : f.needed ? 'NO  ' : 'note'} ${f.what.padEnd(13)} ${f.says}\n`)
      if (f.fix) process.stdout.write(`     ${''.padEnd(13)} → ${f.fix}\n`)
    }
  }
  const able = found.every((f) => f.ok || !f.needed)
  if (!flags.json)
    process.stdout.write(
      able ? 'A workload can run here.\n' : 'A workload cannot run here yet: do what the arrows say.\n',
    )
  return able ? 0 : 1
}
