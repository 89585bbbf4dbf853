import { encodeUtf8 } from '../src/vm/agent/utf8.ts'
import { close, list, must, O, open, readTextIf, sys } from './native.ts'

const BLKFLSBUF = 0x1261

const disks = new Map<string, string>()

/**
 * At boot: which disk is which. Asking takes a request to each; whatever the kernel read of the placeholders (it looks
 * for partitions) is dropped, so that a clone with other disks behind them finds nothing stale.
 */
export function findDisks(): void {
  for (const name of list('/sys/block')) {
    const serial = readTextIf(`/sys/block/${name}/serial`).trim()
    if (serial === '') continue
    disks.set(serial, `/dev/${name}`)
    const fd = must(`Open disk "${serial}"`, open(`/dev/${name}`, O.RDONLY))
    sys('ioctl', fd, BLKFLSBUF, 0)
    close(fd)
  }
}

/** The device node of the virtio disk with this serial. */
export function diskBySerial(serial: string): string {
  const device = disks.get(serial)
  if (!device) throw new Error(`Find disk "${serial}": no disk has that serial`)
  return device
}

/** struct dm_ioctl, linux/dm-ioctl.h; the numbers encode its size and the command. */
const DM_HEADER = 312
const DM = { create: 0xc138fd03, load: 0xc138fd09, resume: 0xc138fd06, remove: 0xc138fd04 }
const DM_READONLY = 1

/** Gives the device number the kernel put into the header. */
function dm(
  command: number,
  name: string,
  flags: number,
  target?: { sectors: number; type: string; table: string },
): number {
  const table = target ? encodeUtf8(target.table) : new Uint8Array(0)
  const buffer = new Uint8Array((DM_HEADER + (target ? 40 + table.length + 1 : 0) + 7) & ~7)
  const view = new DataView(buffer.buffer)
  view.setUint32(0, 4, true)
  view.setUint32(12, buffer.length, true)
  view.setUint32(16, DM_HEADER, true)
  view.setUint32(20, target ? 1 : 0, true)
  view.setUint32(28, flags, true)
  buffer.set(encodeUtf8(name), 48)
  if (target) {
    // struct dm_target_spec: u64 start, u64 length, s32 status, u32 next, char type[16], then the parameters
    view.setUint32(DM_HEADER + 8, target.sectors % 2 ** 32, true)
    view.setUint32(DM_HEADER + 12, Math.floor(target.sectors / 2 ** 32), true)
    view.setUint32(DM_HEADER + 20, buffer.length - DM_HEADER, true)
    buffer.set(encodeUtf8(target.type), DM_HEADER + 24)
    buffer.set(table, DM_HEADER + 40)
  }
  const fd = must('Open device-mapper', open('/dev/mapper/control', O.RDWR))
  const result = sys('ioctl', fd, command, buffer)
  close(fd)
  must(`Device-mapper ${name}`, result)
  return view.getUint32(40, true)
}

export type Verified = { dataBlocks: number; hashStart: number; rootHash: string }

/** dm-verity over data and tree on one device, unsalted SHA-256, 4 KiB blocks; gives the node of the verified device. */
export function openVerity(name: string, device: string, { dataBlocks, hashStart, rootHash }: Verified): string {
  if (rootHash.length !== 64 || [...rootHash].some((c) => !'0123456789abcdef'.includes(c)))
    throw new Error(`Open verity: "${rootHash}" is no SHA-256`)
  const number = dm(DM.create, name, 0)
  const table = `1 ${device} ${device} 4096 4096 ${dataBlocks} ${hashStart} sha256 ${rootHash} -`
  dm(DM.load, name, DM_READONLY, { sectors: dataBlocks * 8, type: 'verity', table })
  dm(DM.resume, name, 0)
  // huge_encode_dev, linux/kdev_t.h; devtmpfs names the node after the minor
  return `/dev/dm-${(number & 0xff) | ((number >>> 12) & 0xfff00)}`
}
