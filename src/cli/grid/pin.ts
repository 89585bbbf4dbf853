import { reasonOf, ZosError } from '#codec'
import type { Spec } from '#contract'
import { checkSignature, type openLibrary, resolveTag } from '#zosfs'
import type { Member } from './fetch.ts'

type Library = ReturnType<typeof openLibrary>

/** What IMAGE means now; as with `zos run` one that nobody published yet is published first, but not for a plan. */
async function tagOf(library: Library, image: string, { plan, ...member }: Member & { plan: boolean }) {
  const known = await resolveTag(library, image)
  if (known) return known
  if (plan) throw new Error('it is not published, and --plan changes nothing: "zos publish" it first')
  const { publishUnknown } = await import('../publish.ts')
  await publishUnknown(image, member)
  const made = await resolveTag(library, image)
  if (!made) throw new Error('its name is not there after it was published')
  return made
}

/** Each image's name becomes the digest it means now, checked against its publisher's signature. */
export async function pin(spec: Spec, library: Library, who: Member & { plan: boolean }): Promise<Spec> {
  const workloads = []
  for (const w of spec.workloads) {
    if (w.flist) {
      workloads.push(w)
      continue
    }
    const tag = await tagOf(library, w.image, who).catch((cause: unknown) => {
      throw new ZosError(`Deploy "${spec.name}": image "${w.image}" of workload "${w.name}": ${reasonOf(cause)}`, {
        code: 'unknown-image',
        cause,
      })
    })
    await checkSignature(library, tag.digest, tag.key)
    workloads.push({ ...w, flist: tag.digest })
  }
  return { ...spec, workloads }
}
