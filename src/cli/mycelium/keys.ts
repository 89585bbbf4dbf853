import { ZosError } from '#codec'
import { createKeyFile, describeIdentity, readKeyFile } from '#mycelium'
import { JSON_FLAG, parseFlags } from '../flags.ts'

function oneFile(command: string, rest: string[]): string {
  if (rest.length !== 1)
    throw new ZosError(`zos mycelium ${command}: give one key file, not ${rest.length}`, { code: 'usage' })
  return rest[0]!
}

function print(described: ReturnType<typeof describeIdentity>, json: boolean): void {
  const { publicKey, address, subnet } = described
  const text = `public key  ${publicKey}\naddress     ${address}\nsubnet      ${subnet}\n`
  process.stdout.write(json ? `${JSON.stringify(described)}\n` : text)
}

export async function keygen(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('mycelium keygen', args, { json: JSON_FLAG })
  print(describeIdentity(await createKeyFile(oneFile('keygen', rest))), flags.json)
  return 0
}

export async function inspect(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('mycelium inspect', args, { json: JSON_FLAG })
  print(describeIdentity(await readKeyFile(oneFile('inspect', rest))), flags.json)
  return 0
}
