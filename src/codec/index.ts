export { ByteReader, ByteWriter } from './bytes.ts'
export { codeOf, type ErrorKind, plain, reasonOf, ZosError, type ZosErrorOptions } from './error.ts'
export { sha256, sha256Hex } from './hash.ts'
export { canonicalJson } from './json.ts'
