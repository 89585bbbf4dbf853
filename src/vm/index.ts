export { type AccelChoice, chooseAccel } from './accel.ts'
export {
  type Agent,
  type CopyEntry,
  type CopyItem,
  connectAgent,
  decodeUtf8,
  type ExecSession,
  type ExitStatus,
  encodeUtf8,
  type ProcessRow,
  type StartSpec,
} from './agent/index.ts'
export { signalNumber } from './agent/signals.ts'
export { archivesOf, debianCodename } from './apt.ts'
export { type Accel, CARD_MTU, DISK_SIZE, type VmClass, VOLUME_SLOTS } from './args.ts'
export { awaitAgent } from './await-agent.ts'
export { CLASS_LIMITS, classFor, DEFAULT_LIMIT_MIB, defaultClass, type HostSize, hostSize } from './classes.ts'
export { adoptMachine, coldBoot, endMachine, killStrays, spawnMachine } from './clone.ts'
export type { Initramfs, VmHost } from './host.ts'
export { identify, isRunning, killProcess, type ProcessIdentity, processesWith } from './identity.ts'
export {
  findImageTemplate,
  type ImageSource,
  type ImageTemplate,
  makeImageTemplate,
  touchTemplate,
} from './image-template.ts'
export { ensureInitramfs } from './initramfs.ts'
export { ensureKernel, type Kernel, type KernelOptions } from './kernel.ts'
export type { ExitReport, Machine, MachineRecord, Stall } from './machine.ts'
export { openVmHost, type VmHostOptions } from './open-host.ts'
export { createPool, type Pool, type PoolOptions } from './pool.ts'
export { findQemu, type Qemu } from './qemu.ts'
export { type DiskSource, type MachineSpec, PLACEHOLDER } from './spawn.ts'
export { describeClass, ensureTemplate, findTemplate, type Template } from './template.ts'
export { hashSparse } from './template-folder.ts'
export { makeUpperTemplate, mendUpper, type UpperTemplate, writeUpper } from './upper.ts'
export { createVolume, giveVolume, growDisk, growVolume } from './volume.ts'
