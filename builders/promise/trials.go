// SPDX-License-Identifier: Apache-2.0

package promise

// trial is how one promise of a kernel's configuration is tried on a compiler, without the kernel's tree.
type trial struct {
	Symbol  string   // of Kconfig, without CONFIG_
	Feature string   // what people call it
	Uses    []string // the promise matters when one of these is y; empty: always
	Flags   []string // of the compiler, or of the linker
	C, Asm  string   // what is compiled: one of the two, or neither when only the flags matter
	Emits   string   // must come out in the assembler text, when set

	Linker     bool // it is the linker's: tried as Kconfig does, by its flags alone
	KernelOnly bool // the kernel's own code or last link relies on it, a module does not
}

// table are the promises that Kconfig makes by trying: those that headers are written with, those that put flags into
// every compilation, and the linker's. What it derives from versions alone cannot be broken by another compiler in a way
// that a trial could show, and is left out: CC_HAS_WORKING_NOSANITIZE_ADDRESS, CC_HAS_NAMED_AS_FIXED_SANITIZERS,
// CC_HAS_SANE_FUNCTION_ALIGNMENT, CC_HAS_AUTO_VAR_INIT_ZERO (of two that are tried), LD_CAN_USE_KEEP_IN_OVERLAY.
// Sources: init/Kconfig, arch/x86/Kconfig, arch/x86/Kconfig.assembler, lib/Kconfig.*, security/Kconfig.hardening of 5.10 to 7.3.
var table = []trial{
	{Symbol: "CC_HAS_ASM_INLINE", Feature: "asm inline", C: `void f(void) { asm inline (""); }`},
	{Symbol: "CC_HAS_ASM_GOTO", Feature: "asm goto", C: `int f(void) { asm goto ("" : : : : out); return 0; out: return 1; }`},
	{Symbol: "CC_HAS_ASM_GOTO_OUTPUT", Feature: "asm goto with outputs", C: `int f(int x) { asm goto ("" : "=r" (x) : : : out); return x; out: return 0; }`},
	{Symbol: "CC_HAS_ASM_GOTO_TIED_OUTPUT", Feature: "asm goto with tied outputs",
		C: `int f(int *x) { asm goto (".long (%l[out]) - ." : "+m" (*x) : : : out); return *x; out: return 0; }`},
	{Symbol: "CC_HAS_INT128", Feature: "128-bit integers", C: `unsigned __int128 f(unsigned __int128 x) { return x + x; }`},
	{Symbol: "CC_HAS_NAMED_AS", Feature: "named address spaces", Uses: []string{"USE_X86_SEG_SUPPORT"}, C: `int __seg_fs a; int __seg_gs b;`},
	{Symbol: "CC_HAS_ASSUME", Feature: "the attribute assume", C: `int f(int x) { __attribute__((__assume__(x > 0))); return x; }`},

	{Symbol: "CC_HAS_NO_PROFILE_FN_ATTR", Feature: "functions without profiling", C: `__attribute__((no_profile_instrument_function)) int f(void); int f(void) { return 0; }`},
	{Symbol: "CC_HAS_COUNTED_BY", Feature: "arrays with a count", C: `struct s { int n; int a[] __attribute__((__counted_by__(n))); }; int f(struct s *s) { return s->a[0]; }`},
	{Symbol: "CC_HAS_COUNTED_BY_PTR", Feature: "pointers with a count", C: `struct s { int n; int *p __attribute__((__counted_by__(n))); }; int f(struct s *s) { return s->p[0]; }`},
	{Symbol: "CC_HAS_MULTIDIMENSIONAL_NONSTRING", Feature: "arrays of what is no string", C: `char tag[][4] __attribute__((__nonstring__)) = { "abcd" };`},

	{Symbol: "CC_HAS_SANE_STACKPROTECTOR", Feature: "stack protector in %gs", Uses: []string{"STACKPROTECTOR"},
		Flags: []string{"-O0", "-mcmodel=kernel", "-fno-PIE", "-fstack-protector"}, C: `int f(void) { char x[200]; return 3; }`, Emits: "%gs"},
	{Symbol: "CC_HAS_RETURN_THUNK", Feature: "return thunks", Uses: []string{"RETHUNK", "MITIGATION_RETHUNK"}, Flags: []string{"-mfunction-return=thunk-extern"}},
	{Symbol: "CC_HAS_SLS", Feature: "hardening against straight-line speculation", Uses: []string{"SLS", "MITIGATION_SLS"}, Flags: []string{"-mharden-sls=all"}},
	{Symbol: "CC_HAS_IBT", Feature: "indirect branch tracking", Uses: []string{"X86_KERNEL_IBT"}, Flags: []string{"-fcf-protection=branch"}},
	{Symbol: "CC_HAS_ENTRY_PADDING", Feature: "padding in front of functions", Uses: []string{"CALL_PADDING"}, Flags: []string{"-fpatchable-function-entry=16,16"}},
	{Symbol: "CC_HAS_MIN_FUNCTION_ALIGNMENT", Feature: "minimum alignment of functions", Flags: []string{"-fmin-function-alignment=16"}},
	{Symbol: "CC_HAS_AUTO_VAR_INIT_PATTERN", Feature: "variables filled with a pattern", Uses: []string{"INIT_STACK_ALL_PATTERN"}, Flags: []string{"-ftrivial-auto-var-init=pattern"}},
	{Symbol: "CC_HAS_AUTO_VAR_INIT_ZERO_BARE", Feature: "variables filled with zero", Uses: []string{"INIT_STACK_ALL_ZERO"}, Flags: []string{"-ftrivial-auto-var-init=zero"}},
	{Symbol: "CC_HAS_AUTO_VAR_INIT_ZERO_ENABLER", Feature: "variables filled with zero, on demand", Uses: []string{"INIT_STACK_ALL_ZERO"},
		Flags: []string{"-ftrivial-auto-var-init=zero", "-enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang"}},
	{Symbol: "CC_HAS_MARCH_NATIVE", Feature: "code for the builder's own processor", Uses: []string{"X86_NATIVE_CPU"}, Flags: []string{"-march=native"}},
	{Symbol: "CC_HAS_ZERO_CALL_USED_REGS", Feature: "zeroing of used registers", Uses: []string{"ZERO_CALL_USED_REGS"}, Flags: []string{"-fzero-call-used-regs=used-gpr"}},
	{Symbol: "CC_HAS_KASAN_GENERIC", Feature: "the address sanitizer", Uses: []string{"KASAN_GENERIC"}, Flags: []string{"-fsanitize=kernel-address"}},
	{Symbol: "CC_HAS_KASAN_SW_TAGS", Feature: "the tagging address sanitizer", Uses: []string{"KASAN_SW_TAGS"}, Flags: []string{"-fsanitize=kernel-hwaddress"}},
	{Symbol: "CC_HAS_SANCOV_TRACE_PC", Feature: "coverage of basic blocks", Uses: []string{"KCOV"}, Flags: []string{"-fsanitize-coverage=trace-pc"}},
	{Symbol: "CC_HAS_UBSAN_BOUNDS_STRICT", Feature: "the strict bounds sanitizer", Uses: []string{"UBSAN_BOUNDS_STRICT"}, Flags: []string{"-fsanitize=bounds-strict"}},

	{Symbol: "AS_AVX512", Feature: "AVX-512 in the assembler", Asm: `vpmovm2b %k1,%zmm5`},
	{Symbol: "AS_SHA1_NI", Feature: "SHA-1 instructions in the assembler", Asm: `sha1msg1 %xmm0,%xmm1`},
	{Symbol: "AS_SHA256_NI", Feature: "SHA-256 instructions in the assembler", Asm: `sha256msg1 %xmm0,%xmm1`},
	{Symbol: "AS_TPAUSE", Feature: "tpause in the assembler", Asm: `tpause %ecx`},
	{Symbol: "AS_GFNI", Feature: "GFNI in the assembler", Asm: `vgf2p8mulb %xmm0,%xmm1,%xmm2`},
	{Symbol: "AS_VAES", Feature: "VAES in the assembler", Asm: `vaesenc %ymm0,%ymm1,%ymm2`},
	{Symbol: "AS_VPCLMULQDQ", Feature: "VPCLMULQDQ in the assembler", Asm: `vpclmulqdq $0x10,%ymm0,%ymm1,%ymm2`},
	{Symbol: "AS_WRUSS", Feature: "wruss in the assembler", Asm: `wrussq %rax,(%rbx)`},
	{Symbol: "AS_HAS_NON_CONST_LEB128", Feature: "LEB128 of differences in the assembler", Asm: uleb128},
	{Symbol: "AS_HAS_NON_CONST_ULEB128", Feature: "LEB128 of differences in the assembler", Asm: uleb128},

	{Symbol: "LD_ORPHAN_WARN", Feature: "warnings of orphan sections", Linker: true, KernelOnly: true, Flags: []string{"--orphan-handling=warn"}},
}

const uleb128 = ".uleb128 .Lend - .Lstart\n.Lstart:\n.Lend:"

// sanity and linkerSanity are tried last: when a tool cannot do even this, no promise is broken but the tool.
var (
	sanity       = trial{Symbol: "NOTHING", Feature: "a function", C: `int f(int x) { return x; }`}
	linkerSanity = trial{Symbol: "NOTHING_LINKED", Feature: "its version", Linker: true}
)
