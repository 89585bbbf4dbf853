// Compiles solidity/*.sol with solc from npm into artifacts/, so that start-up needs no compiler.
// usage: tools/node.sh src/contract/compile.ts
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { sha256Hex, ZosError } from '#codec'

const sources = join(import.meta.dirname, 'solidity')
const packages = resolve(import.meta.dirname, '../../node_modules')

/** What the rest of the program needs of a compiled contract, and the hash of the sources it came from. */
export type Artifact = {
  contract: string
  solc: string
  /** SHA-256 over the names and bytes of solidity/*.sol in order: an edit without a recompile is seen at once. */
  sources: string
  abi: unknown[]
  bytecode: string
  deployedBytecode: string
  /** Storage slot of each state variable, for proofs. */
  storage: Record<string, number>
}

type Output = {
  errors?: { severity: string; formattedMessage: string }[]
  contracts: Record<
    string,
    Record<
      string,
      {
        abi: unknown[]
        evm: { bytecode: { object: string }; deployedBytecode: { object: string } }
        storageLayout: { storage: { label: string; slot: string }[] }
      }
    >
  >
}

type Solc = { version(): string; compile(input: string, callbacks: object): string }

export function sourcesHash(): string {
  const names = readdirSync(sources).sort()
  return sha256Hex(...names.flatMap((name) => [Buffer.from(`${name}\0`), readFileSync(join(sources, name))]))
}

/** Compiles the Ledger (which is Groups, Nodes and Names too). About 20 s: solc is WebAssembly. */
export function compileLedger(): Artifact {
  const solc = createRequire(import.meta.url)('solc') as Solc
  const input = {
    language: 'Solidity',
    sources: Object.fromEntries(
      readdirSync(sources).map((name) => [name, { content: readFileSync(join(sources, name), 'utf8') }]),
    ),
    settings: {
      // cancun is what OpenZeppelin 5.7 needs (MCOPY) and what every L2 has
      evmVersion: 'cancun',
      viaIR: true,
      optimizer: { enabled: true, runs: 200 },
      metadata: { appendCBOR: false, bytecodeHash: 'none' },
      outputSelection: {
        'Ledger.sol': { Ledger: ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object', 'storageLayout'] },
      },
    },
  }
  const read = (path: string) => {
    try {
      return { contents: readFileSync(join(packages, path), 'utf8') }
    } catch {
      return { error: `"${path}" is not there` }
    }
  }
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: read })) as Output
  const errors = output.errors?.filter((e) => e.severity === 'error') ?? []
  for (const e of output.errors ?? []) if (e.severity !== 'error') console.error(e.formattedMessage)
  if (errors.length) {
    const text = errors.map((e) => e.formattedMessage).join('\n')
    throw new ZosError(`Compile the contracts: ${text}`, { code: 'solidity', kind: 'bug' })
  }
  const ledger = output.contracts['Ledger.sol']!.Ledger!
  return {
    contract: 'Ledger',
    solc: solc.version(),
    sources: sourcesHash(),
    abi: ledger.abi,
    bytecode: `0x${ledger.evm.bytecode.object}`,
    deployedBytecode: `0x${ledger.evm.deployedBytecode.object}`,
    storage: Object.fromEntries(ledger.storageLayout.storage.map((s) => [s.label, Number(s.slot)])),
  }
}

if (import.meta.main) {
  const artifact = compileLedger()
  const dir = join(import.meta.dirname, 'artifacts')
  mkdirSync(dir, { recursive: true })
  writeFileSync(join(dir, 'Ledger.json'), `${JSON.stringify(artifact, null, 1)}\n`)
  console.log(`Ledger: ${(artifact.deployedBytecode.length - 2) / 2} bytes of code`)
}
