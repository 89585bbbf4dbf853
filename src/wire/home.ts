import { homedir } from 'node:os'
import { resolve } from 'node:path'
import { sha256Hex } from '#codec'

export type Places = {
  /** All state of this node. */
  home: string
  /** Sockets only; short, because a unix socket path holds 107 bytes. Gone after `zos down`. */
  run: string
  /** The daemon's API; $ZOS_API names another socket. */
  api: string
}

/** Where a node keeps what, from $ZOS_HOME; /run needs root, so others use $XDG_RUNTIME_DIR. */
export function places(env: NodeJS.ProcessEnv = process.env): Places {
  const home = resolve(env.ZOS_HOME || `${env.HOME || homedir()}/.local/state/zos`)
  const base = process.getuid?.() === 0 ? '/run' : env.XDG_RUNTIME_DIR || '/tmp'
  const run = `${base}/zos-${sha256Hex(Buffer.from(home)).slice(0, 12)}`
  return { home, run, api: env.ZOS_API || `${run}/api.sock` }
}
