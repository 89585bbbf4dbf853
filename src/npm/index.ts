// What the contract uses of packages that come in hundreds of files: `./zos` and what it starts load it as one file, made of this
// one by tools/pack.ts; whatever else runs loads the packages themselves. (Node: "imports" in package.json, condition "packed".)
export { x25519 } from '@noble/curves/ed25519.js'
export { p256 } from '@noble/curves/nist.js'
export { secp256k1 } from '@noble/curves/secp256k1.js'
export { keccak_256 } from '@noble/hashes/sha3.js'
export { Decrypter, Encrypter } from 'age-encryption'
export {
  type Abi,
  type AbiEvent,
  BaseError,
  ContractFunctionRevertedError,
  createPublicClient,
  custom,
  type DecodeEventLogReturnType,
  decodeErrorResult,
  decodeEventLog,
  encodeAbiParameters,
  encodeDeployData,
  encodeFunctionData,
  fromRlp,
  getAbiItem,
  getContractAddress,
  hashTypedData,
  hexToString,
  keccak256,
  type PublicClient,
  parseSignature,
  serializeTransaction,
  signatureToCompactSignature,
  stringToHex,
  type TypedDataDomain,
  toEventSelector,
} from 'viem'
export { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts'
export { isMap, isScalar, LineCounter, type Node, parseDocument } from 'yaml'
export { z } from 'zod'
