import { mkdirSync } from 'node:fs'
import { ROOT } from './harness.ts'

/**
 * How a command is run as somebody else, and where that one finds the checkout: at PLACE, in a mount namespace of the command's
 * own, as a checkout may lie below a folder that others must not enter (root's home, for one). Needs root.
 */
export function asUser(user: number, place: string, ...flags: string[]): { before: string[]; zos: string } {
  mkdirSync(place, { recursive: true })
  const show = ['unshare', '--mount', 'sh', '-c', 'mount --bind "$0" "$1" && shift && exec "$@"', ROOT, place]
  const be = ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--clear-groups', ...flags, '--']
  return { before: [...show, ...be], zos: `${place}/zos` }
}
