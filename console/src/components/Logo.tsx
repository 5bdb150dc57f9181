/** A canal lock: the gate, high water before it, low water behind it. */
export function Logo({ size = 28 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" fill="#0b5e70" />
      <path d="M16 6v20" stroke="#fff" strokeWidth="2.6" strokeLinecap="round" />
      <path d="M4.5 11c1.6-1.5 3-1.5 4.5 0s2.9 1.5 4 .4M4.5 16c1.6-1.5 3-1.5 4.5 0s2.9 1.5 4 .4M4.5 21c1.6-1.5 3-1.5 4.5 0s2.9 1.5 4 .4M19 20.6c1.1-1.1 2.5-1.1 4 .4s2.9 1.5 4.5 0" fill="none" stroke="#8fd3df" strokeWidth="2" strokeLinecap="round" />
    </svg>
  );
}
