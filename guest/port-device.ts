import { encodeUtf8 } from '../src/vm/agent/utf8.ts'
import { close, E, list, O, open, readTextIf, sys } from './native.ts'

const PORTS = '/sys/class/virtio-ports'
const DRIVER = '/sys/bus/virtio/drivers/virtio_console'

/** The virtio-serial port of that name, opened; -ENODEV while there is none. */
export function openPortDevice(name: string): number {
  const found = list(PORTS).find((p) => readTextIf(`${PORTS}/${p}/name`).trim() === name)
  return found ? open(`/dev/${found}`, O.RDWR | O.NONBLOCK) : -E.ENODEV
}

let devices: string[] = []

/**
 * Gives the driver all its send buffers again: QEMU keeps the one it was sending each time a host ends that does not read
 * (virtio-serial-bus.c, discard_throttle_data), and there are 128. The ports come back a little later, or never, when the
 * kernel had no memory for them: then it can be called again.
 */
export function renewPortDevices(): void {
  if (devices.length === 0) devices = list(DRIVER).filter((d) => d.startsWith('virtio'))
  for (const device of devices) for (const act of ['unbind', 'bind']) tell(`${DRIVER}/${act}`, encodeUtf8(device))
}

/** One that is not bound cannot be unbound. */
function tell(path: string, word: Uint8Array): void {
  const fd = open(path, O.WRONLY)
  sys('write', fd, word, word.length)
  close(fd)
}
