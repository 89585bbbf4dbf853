import assert from 'node:assert/strict'
import test from 'node:test'
import { DISK_SIZE, kernelCommandLine, type QemuInput, qemuArgs } from './args.ts'
import type { Qemu } from './qemu.ts'

const old: Qemu = { path: 'qemu-system-x86_64', text: 'QEMU emulator version 7.2.22', version: [7, 2] }
const recent: Qemu = { ...old, version: [10, 0] }
const placeholder = { kind: 'placeholder' } as const

const base: QemuInput = {
  qemu: old,
  accel: 'tcg',
  class: { vcpus: 2, memoryMiB: 256 },
  name: 'zos-a',
  sockets: { qmp: '/run/z/vm/a/qmp', agent: '/run/z/vm/a/agent' },
  card: { kind: 'stream', path: '/run/z/vm/a/nic' },
  disks: { root: placeholder, upper: placeholder, modules: { kind: 'file', fd: 9, durable: false }, volumes: [] },
}

/** Which of QEMU's own nodes a disk begins with is nothing the guest sees. */
const claimed = (device: string) => device.replace(/(?<=drive=(root|upper|vol0))-empty/, '')

/** The value after each OPTION. */
const all = (args: string[], option: string) => args.flatMap((a, n) => (a === option ? [args[n + 1]!] : []))

test('template and clone have the same hardware, device by device', () => {
  const template = qemuArgs({
    ...base,
    memory: { path: '/t/ram', share: true },
    boot: { vmlinux: '/k/vmlinux', initramfs: '/k/initramfs' },
  })
  const clone = qemuArgs({
    ...base,
    memory: { path: '/t/ram', share: false },
    incoming: { paused: true },
    runAs: 7,
    disks: {
      root: { kind: 'nbd', socket: '/run/z/nbd' },
      upper: { kind: 'file', fd: 3, durable: false },
      modules: { kind: 'file', fd: 5, durable: false },
      volumes: [{ kind: 'file', fd: 4, durable: true }],
    },
  })
  for (const option of ['-machine', '-device', '-smp', '-m', '-cpu', '-accel'])
    assert.deepEqual(all(clone, option), all(template, option).map(claimed), option)
  assert.equal(all(clone, '-kernel').length, 0)
  assert.ok(clone.includes('-S'))
  const disks = all(clone, '-blockdev')
  assert.match(disks[0]!, /^driver=nbd,node-name=root,read-only=on,.*reconnect-delay=86400/)
  assert.match(disks[1]!, /^driver=file,node-name=upper,.*filename=\/dev\/fdset\/3,discard=unmap,cache.no-flush=on$/)
  assert.match(disks[2]!, /^driver=file,node-name=modules,read-only=on,/)
  assert.match(disks[3]!, /node-name=vol0,.*cache.no-flush=off$/)
  for (const disk of disks.slice(4)) assert.match(disk, new RegExp(`^driver=null-co,.*size=${DISK_SIZE},`))
  assert.equal(disks.length, 9)
})

test('memory: written in the template, private in clones, sealed where QEMU can', () => {
  const ram = (qemu: Qemu, share: boolean) =>
    all(qemuArgs({ ...base, qemu, memory: { path: '/t', share } }), '-object')[0]
  assert.equal(ram(old, true), 'memory-backend-file,id=ram,size=256M,mem-path=/t,share=on')
  assert.equal(ram(old, false), 'memory-backend-file,id=ram,size=256M,mem-path=/t,share=off')
  assert.equal(ram(recent, false), 'memory-backend-file,id=ram,size=256M,mem-path=/t,share=off,readonly=on,rom=off')
  assert.equal(ram(recent, true), ram(old, true))
  const [named] = all(qemuArgs({ ...base, memory: { path: '/a,share=on', share: false } }), '-object')
  assert.match(named!, /mem-path=\/a,,share=on,share=off$/, 'a comma in a path is one')
})

test('every VM is sandboxed and has nothing that writes into the template', () => {
  for (const runAs of [undefined, 9]) {
    const args = qemuArgs(runAs === undefined ? base : { ...base, runAs })
    assert.match(all(args, '-sandbox')[0]!, /^on,obsolete=deny,.*spawn=deny,resourcecontrol=deny$/)
    assert.ok(args.includes('-nodefaults') && args.includes('-no-user-config'))
    assert.doesNotMatch(args.join(' '), /balloon|free-page/)
  }
  assert.match(all(qemuArgs(base), '-sandbox')[0]!, /elevateprivileges=deny/)
})

test('the uid is given up by the option this QEMU has', () => {
  assert.deepEqual(all(qemuArgs({ ...base, runAs: 9 }), '-runas'), ['9:9'])
  const args = qemuArgs({ ...base, qemu: recent, runAs: 9 })
  assert.deepEqual([all(args, '-runas'), all(args, '-run-with')], [[], ['user=9:9']])
})

test('an emulated kernel does not try its timer, which stands still while the emulator waits for a CPU', () => {
  assert.match(kernelCommandLine('tcg', recent), / no_timer_check\b/)
  assert.doesNotMatch(kernelCommandLine('kvm', recent), /no_timer_check/)
  const args = qemuArgs({ ...base, boot: { vmlinux: '/k', initramfs: '/i', append: 'tsc_early_khz=5' } })
  assert.match(all(args, '-append')[0]!, / tsc_early_khz=5$/)
})

test('cmpxchg16b is kept from the guest kernel where TCG gets it wrong, and only there', () => {
  assert.match(kernelCommandLine('tcg', old), /clearcpuid=cx16/)
  assert.doesNotMatch(kernelCommandLine('tcg', recent), /cx16/)
  assert.doesNotMatch(kernelCommandLine('kvm', old), /cx16/)
})

test('a card is on a unix socket or on a tap, and never cuts packets', () => {
  const [stream] = all(qemuArgs(base), '-netdev')
  assert.equal(stream, 'stream,id=nic,server=on,addr.type=unix,addr.path=/run/z/vm/a/nic')
  const args = qemuArgs({ ...base, card: { kind: 'tap', name: 'zt1' } })
  assert.deepEqual(all(args, '-netdev'), ['tap,id=nic,ifname=zt1,script=no,downscript=no,vhost=off'])
  const card = all(args, '-device').find((device) => device.startsWith('virtio-net-pci,'))
  assert.match(card!, /host_tso6=off,guest_tso6=off/)
})
