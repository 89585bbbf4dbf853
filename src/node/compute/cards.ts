import { mkdirSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { cardsDir } from '../network/place.ts'

/** Where the network plane finds the cards of workloads that run: a link per workload to its machine's socket. */
export type Cards = ReturnType<typeof openCards>

export function openCards(run: string) {
  const dir = cardsDir(run)
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  return {
    /** SOCKET is the card of workload NAME from now on. */
    plug(name: string, socket: string): void {
      const made = join(dir, `.${name}`)
      rmSync(made, { force: true })
      symlinkSync(socket, made)
      renameSync(made, join(dir, name))
    },
    unplug(name: string): void {
      rmSync(join(dir, name), { force: true })
    },
    /** Unplugs all but NAMES: what a killed daemon left. */
    keep(names: readonly string[]): void {
      for (const name of readdirSync(dir)) if (!names.includes(name)) rmSync(join(dir, name), { force: true })
    },
  }
}
