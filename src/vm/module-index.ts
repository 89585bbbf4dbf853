const nameOf = (path: string): string =>
  path
    .slice(path.lastIndexOf('/') + 1)
    .replace(/\.ko$/, '')
    .replaceAll('-', '_')

/**
 * What zinit needs of depmod's files to load a module by name or alias, as lines found by their first word: `module path
 * dependency…` (the order is modules.dep's: what is needed first is last) and `alias module`; after an empty line the
 * aliases with a `*`. Aliases of hardware (`pci:…`) are left out: the kernel asks for them through udev, never itself.
 */
export function moduleIndex(dep: string, alias: string): string {
  const modules = lines(dep).map((line) => {
    const [path = '', ...needs] = line.replace(':', '').split(' ')
    return [nameOf(path), path, ...needs.filter((n) => n !== '')].join(' ')
  })
  const plain: string[] = []
  const globs: string[] = []
  for (const line of lines(alias)) {
    const [word, name = '', module = ''] = line.split(' ')
    if (word !== 'alias' || name.includes(':')) continue
    ;(name.includes('*') ? globs : plain).push(`${name} ${module}`)
  }
  return `\n${[...modules, ...plain].join('\n')}\n\n${globs.map((g) => `${g}\n`).join('')}`
}

const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
