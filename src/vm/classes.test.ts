import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { chooseAccel } from './accel.ts'
import { CLASS_LIMITS, classFor, guestMemory } from './classes.ts'

const host = { memoryMiB: 24_000, cores: 4 }
const MIB = 2 ** 20

test('the smallest class that holds the limit, with room for the guest itself', () => {
  assert.deepEqual(classFor({ memory: 64 * MIB }, host), { vcpus: 1, memoryMiB: guestMemory(64) })
  assert.deepEqual(classFor({ memory: 64 * MIB + 1 }, host), { vcpus: 1, memoryMiB: guestMemory(128) })
  assert.deepEqual(classFor({ memory: 6 * MIB, cpus: 0.5 }, host), { vcpus: 1, memoryMiB: guestMemory(64) })
  assert.equal(classFor({ cpus: 2.5 }, host).vcpus, 4)
  assert.equal(classFor({ cpus: 3 }, { ...host, cores: 3 }).vcpus, 3)
  for (const limit of CLASS_LIMITS) assert.ok(guestMemory(limit) >= limit + 96, `${limit}`)
})

test('above the largest the error names the largest, which the machine bounds', () => {
  assert.throws(() => classFor({ memory: 8193 * MIB }, host), { code: 'class-too-large', message: /8192 MiB/ })
  assert.throws(() => classFor({ memory: 4096 * MIB }, { ...host, memoryMiB: 4096 }), { message: /2048 MiB/ })
  assert.throws(() => classFor({ cpus: 5 }, host), { code: 'class-too-large', message: /5 CPUs.*4/ })
})

test('KVM is used only after a guest booted; the answer is kept until QEMU or the kernel changes', async () => {
  const cacheDir = mkdtempSync(join(tmpdir(), 'accel-'))
  const device = join(cacheDir, 'kvm')
  const qemu = { path: 'q', text: 'QEMU 7.2', version: [7, 2] as const }
  let probes = 0
  const choose = (works: boolean, sha256 = 'k') =>
    chooseAccel({
      cacheDir,
      qemu,
      kernel: { sha256 },
      device,
      probe: async () => {
        probes++
        if (!works) throw new Error('suberror 1')
      },
    })
  try {
    assert.match((await choose(true)).reason, /cannot be opened/)
    assert.equal(probes, 0)
    writeFileSync(device, '')
    assert.equal((await choose(true)).accel, 'kvm')
    assert.equal((await choose(false)).accel, 'kvm')
    assert.equal(probes, 1)
    const other = await choose(false, 'k2')
    assert.equal(other.accel, 'tcg')
    assert.match(other.reason, /suberror 1/)
    assert.match(readFileSync(join(cacheDir, 'accel.json'), 'utf8'), /"tcg"/)
  } finally {
    rmSync(cacheDir, { recursive: true })
  }
})
