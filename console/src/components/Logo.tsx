/** Lock gates over water: the canal's lock that joins two heights. */
export function Logo({ size = 28 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" fill="#0b5e70" />
      <path d="M6 11h9l-5 5 5 5H6M26 11h-7l5 5-5 5h7" fill="none" stroke="#fff" strokeWidth="2.4" strokeLinejoin="round" strokeLinecap="round" />
      <path d="M6 26c2.5-1.6 5-1.6 7.5 0s5 1.6 7.5 0 3.5-1.6 5-.8" fill="none" stroke="#8fd3df" strokeWidth="2" strokeLinecap="round" />
    </svg>
  );
}
