/** Whether a thread may do ACT: "yes", or the code of what refused it. */
export const tried = (act: () => unknown): string => {
  try {
    act()
    return 'yes'
  } catch (error) {
    return String((error as { code?: string }).code)
  }
}
