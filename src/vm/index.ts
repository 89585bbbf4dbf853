export { ensureKernel, type Kernel, type KernelOptions } from './kernel.ts'
