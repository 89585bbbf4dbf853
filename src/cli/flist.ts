import { plain, ZosError } from '#codec'
import { places } from '#wire'
import {
  checkSignature,
  diff,
  extract,
  inspect,
  type Library,
  list,
  loadManifest,
  openLibrary,
  resolveTag,
  verify,
} from '#zosfs'
import { JSON_FLAG, parseFlags } from './flags.ts'
import { hubInUse, namedHub } from './hub.ts'
import { progressLine, rateText } from './progress.ts'
import { bytesText, table } from './terminal.ts'

const USAGE = 'zos flist: write zos flist ls NAME [PATH], inspect NAME, verify NAME, extract NAME DIR or diff NAME NAME'

const usage = (): ZosError => new ZosError(USAGE, { code: 'usage' })

type Named = { digest: string; key?: string }

/** The manifest a tag names and who signed it, or 64 hex digits as they are. */
async function named(library: Library, name: string): Promise<Named> {
  if (/^[0-9a-f]{64}$/.test(name)) return { digest: name }
  const tag = await resolveTag(library, name)
  if (!tag)
    throw new ZosError(`Find flist "${name}": nothing of that name was published; "zos images" lists them`, {
      code: 'unknown-image',
    })
  return tag
}

const digestOf = async (library: Library, name: string): Promise<string> => (await named(library, name)).digest

type Verb = (library: Library, names: string[], json: boolean) => Promise<number>

const show = (json: boolean, value: unknown, text: () => string): void => {
  process.stdout.write(json ? `${JSON.stringify(value)}\n` : text())
}

const ls: Verb = async (library, [name = '', path], json) => {
  const listed = list(await loadManifest(library.store, await digestOf(library, name)), path)
  if (!listed) throw new ZosError(`List "${name}": it has no "${path}"`, { code: 'no-such-file' })
  show(json, listed, () =>
    table(
      ['MODE', 'OWNER', 'SIZE', 'PATH'],
      listed.map((e) => [
        `${e.type[0]} ${e.mode}`,
        `${e.uid}:${e.gid}`,
        String(e.size ?? ''),
        e.target === undefined ? e.path : `${e.path} -> ${e.target}`,
      ]),
    ),
  )
  return 0
}

const inspectVerb: Verb = async (library, [name = ''], json) => {
  const digest = await digestOf(library, name)
  const manifest = await loadManifest(library.store, digest)
  const facts = inspect(manifest, digest)
  process.stdout.write(`${JSON.stringify(facts, null, json ? 0 : 2)}\n`)
  return 0
}

const verifyVerb: Verb = async (library, [name = ''], json) => {
  const { digest, key } = await named(library, name)
  const line = progressLine()
  const begun = performance.now()
  if (key) await checkSignature(library, digest, key)
  const { files, bytes, faults } = await verify(library.store, digest, {
    onProgress: (p) => line.show(`verifying ${name}: ${rateText(p.bytes, undefined, begun)}, ${p.files} files`),
  })
  line.done()
  show(
    json,
    { digest, key, files, bytes, faults },
    () =>
      `${name}: ${files} files, ${bytesText(bytes)}, ${faults.length === 0 ? 'all as published' : `${faults.length} faults`}\n`,
  )
  for (const fault of faults) process.stderr.write(`zos: "${plain(fault.path)}": ${plain(fault.reason)}\n`)
  return faults.length === 0 ? 0 : 1
}

const extractVerb: Verb = async (library, [name = '', dir], json) => {
  if (!dir) throw usage()
  const line = progressLine()
  const begun = performance.now()
  const done = await extract(library.store, await loadManifest(library.store, await digestOf(library, name)), dir, {
    onProgress: (p) => line.show(`extracting ${name}: ${rateText(p.bytes, undefined, begun)}, ${p.files} files`),
  })
  line.done()
  show(json, done, () => `${done.files} files, ${bytesText(done.bytes)} in "${dir}"\n`)
  return 0
}

const diffVerb: Verb = async (library, [before = '', after = ''], json) => {
  if (!after) throw usage()
  const load = async (name: string) =>
    loadManifest(library.store, await digestOf(library, name), { fingerprints: true })
  const changes = diff(await load(before), await load(after))
  const sign = { added: '+', removed: '-', changed: '~' }
  show(json, changes, () =>
    changes.map((c) => `${sign[c.change]} ${plain(c.path)}${c.what ? ` (${c.what.join(', ')})` : ''}\n`).join(''),
  )
  return 0
}

const VERBS: Record<string, Verb> = {
  ls,
  inspect: inspectVerb,
  verify: verifyVerb,
  extract: extractVerb,
  diff: diffVerb,
}

export default async function flist(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('flist', args, { json: JSON_FLAG })
  const [verb = '', ...names] = rest
  if (!Object.hasOwn(VERBS, verb) || names.length === 0) throw usage()
  await using library = openLibrary({ home: places().home, hub: namedHub() ?? (await hubInUse()) })
  return await VERBS[verb]!(library, names, flags.json)
}
