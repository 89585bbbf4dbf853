import { reasonOf, ZosError } from '#codec'
import { daemonCall, pathOf } from './daemon.ts'
import { parseFlags } from './flags.ts'

/** Forgets names of images. Workloads hold on to what they were made from, whatever becomes of its name. */
export default async function rmi(args: string[]): Promise<number> {
  const { rest } = parseFlags('rmi', args, {})
  if (rest.length === 0) throw new ZosError('zos rmi: name an image ("zos images" lists them)', { code: 'usage' })
  let failed = false
  for (const name of rest) {
    try {
      await daemonCall('DELETE', pathOf('images', name))
      process.stdout.write(`Untagged: ${name}\n`)
    } catch (error) {
      failed = true
      process.stderr.write(`zos: ${reasonOf(error)}\n`)
    }
  }
  return failed ? 1 : 0
}
