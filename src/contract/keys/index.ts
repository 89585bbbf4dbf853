// A door of its own, "#keys": what needs keys alone does not load the contract.
export { listKeys, newKey } from './keys.ts'
