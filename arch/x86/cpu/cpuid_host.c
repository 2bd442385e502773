// SPDX-License-Identifier: GPL-2.0
/*
 * What guests may be offered: KVM_GET_SUPPORTED_CPUID.
 *
 * Three filters: the host's CPUID, what the host's kernel left enabled, and the bits listed here,
 * which are those that are honoured. A leaf that is not listed is not offered; it reads as zeros.
 */
#include <linux/kvm_para.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/cpufeature.h>
#include <asm/fpu/xcr.h>
#include <asm/processor.h>

#include "../strata.h"
#include "rows.h"

struct cpuid_component cpuid_host_components[64];
u64 cpuid_host_xcr0;
u64 cpuid_host_xss;

static struct kvm_cpuid_entry2 supported[CPUID_MAX_ENTRIES];
static struct cpuid_table host;

/* XCR0 components that the kernel's guest FPU keeps; AMX would need XFD to be passed through. */
#define XCR0_HONOURED	(XCR0_FP | XCR0_SSE | XCR0_YMM | XCR0_AVX512 | XCR0_PKRU)

#define ALL	0xffffffffu

/*
 * PLAIN: no sub-leaves. INDEXED: this sub-leaf. CACHE: sub-leaves of cache parameters, until one
 * says there is no more.
 * SYNTH: not the host's: the masks are the values.
 */
enum leaf_kind { PLAIN, INDEXED, CACHE, SYNTH };

struct leaf_row {
	u32 leaf;
	u8 index;
	u8 kind;
	u32 mask[LEAF_NR_REGS];
};

/*
 * Bits of leaf 1 EDX, by the SDM's "Feature Information Returned in the EDX Register"; 0x80000001
 * repeats some.
 */
#define EDX_1	(BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(11) | BIT(12) | \
		 BIT(13) | BIT(14) | BIT(15) | BIT(16) | BIT(17) | BIT(19) | BIT(23) | BIT(24) | BIT(25) | BIT(26) | BIT(27))
/* SSE3 PCLMUL SSSE3 FMA CX16 PCID SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE AVX F16C RDRAND */
#define ECX_1	(BIT(0) | BIT(1) | BIT(9) | BIT(12) | BIT(13) | BIT(17) | BIT(19) | BIT(20) | BIT(22) | BIT(23) | BIT(25) | \
		 BIT(26) | BIT(28) | BIT(29) | BIT(30))
/* FSGSBASE BMI1 HLE AVX2 FDP_EXCPTN SMEP BMI2 ERMS INVPCID RTM ZERO_FCS_FDS */
#define EBX_7	(BIT(0) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(10) | BIT(11) | BIT(13) | \
		 /* AVX512F AVX512DQ RDSEED ADX SMAP IFMA CLFLUSHOPT CLWB PF ER CD SHA BW VL */ \
		 BIT(16) | BIT(17) | BIT(18) | BIT(19) | BIT(20) | BIT(21) | BIT(23) | BIT(24) | BIT(26) | BIT(27) | BIT(28) | \
		 BIT(29) | BIT(30) | BIT(31))
/*
 * VBMI UMIP PKU VBMI2 GFNI VAES VPCLMULQDQ VNNI BITALG VPOPCNTDQ LA57 RDPID CLDEMOTE MOVDIRI
 * MOVDIR64B
 */
#define ECX_7	(BIT(1) | BIT(2) | BIT(3) | BIT(6) | BIT(8) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(14) | BIT(16) | \
		 BIT(22) | BIT(25) | BIT(27) | BIT(28))
/*
 * 4VNNIW 4FMAPS FSRM VP2INTERSECT MD_CLEAR SERIALIZE TSXLDTRK FP16 SPEC_CTRL STIBP FLUSH_L1D
 * ARCH_CAPABILITIES SSBD
 */
#define EDX_7	(BIT(2) | BIT(3) | BIT(4) | BIT(8) | BIT(10) | BIT(14) | BIT(16) | BIT(23) | BIT(26) | BIT(27) | BIT(28) | \
		 BIT(29) | BIT(31))
/* SHA512 SM3 SM4 AVX_VNNI AVX512_BF16 CMPCCXADD FZRM FSRS FSRCS AVX_IFMA */
#define EAX_7_1	(BIT(0) | BIT(1) | BIT(2) | BIT(4) | BIT(5) | BIT(7) | BIT(10) | BIT(11) | BIT(12) | BIT(23))
/* AVX_VNNI_INT8 AVX_NE_CONVERT PREFETCHITI */
#define EDX_7_1	(BIT(4) | BIT(5) | BIT(14))
/* PSFD IPRED_CTRL RRSBA_CTRL DDPD_U BHI_CTRL MCDT_NO */
#define EDX_7_2	(BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5))
/* LAHF CMP_LEGACY ALTMOVCR8 ABM SSE4A MISALIGNSSE PREFETCHW XOP FMA4 TBM TOPOEXT */
#define ECX_81	(BIT(0) | BIT(1) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(11) | BIT(16) | BIT(21) | BIT(22))
/* SYSCALL NX MMXEXT FXSR_OPT GBPAGES RDTSCP LM 3DNOWEXT 3DNOW, and those repeated from leaf 1 */
#define EDX_81	(BIT(11) | BIT(20) | BIT(22) | BIT(25) | BIT(26) | BIT(27) | BIT(29) | BIT(30) | BIT(31) | \
		 (EDX_1 & 0x0183f3ff))
/*
 * CLZERO XSAVEERPTR WBNOINVD IBPB IBRS STIBP STIBP_ALWAYS_ON IBRS_PREFERRED SSBD SSB_NO PSFD BTC_NO
 * IBPB_RET
 */
#define EBX_88	(BIT(0) | BIT(2) | BIT(9) | BIT(12) | BIT(14) | BIT(15) | BIT(17) | BIT(18) | BIT(24) | BIT(26) | BIT(28) | \
		 BIT(29) | BIT(30))
/*
 * NO_NESTED_DATA_BP LFENCE_RDTSC NULL_SEL_CLR_BASE AUTOIBRS NO_SMM_CTL_MSR SBPB IBPB_BRTYPE SRSO_NO
 */
#define EAX_821	(BIT(0) | BIT(2) | BIT(6) | BIT(8) | BIT(9) | BIT(27) | BIT(28) | BIT(29))
/* XSAVEOPT XSAVEC XGETBV1 XSAVES */
#define EAX_D_1	(BIT(0) | BIT(1) | BIT(2) | BIT(3))

#define HIGHEST_BASIC		0x1fu
#define HIGHEST_EXTENDED	0x80000021u

static const struct leaf_row leaf_rows[] = {
	{ 0x0,		0, PLAIN,	{ ALL, ALL, ALL, ALL } },
	/* No APIC ID and no count of logical processors: these are the VMM's to say. */
	{ 0x1,		0, PLAIN,	{ ALL, 0xffff, ECX_1, EDX_1 } },
	{ 0x2,		0, PLAIN,	{ ALL, ALL, ALL, ALL } },
	{ 0x4,		0, CACHE,	{ 0x3fff, ALL, ALL, ALL } },
	/* The APIC timer does not stop (ARAT). */
	{ 0x6,		0, SYNTH,	{ BIT(2), 0, 0, 0 } },
	{ 0x7,		0, INDEXED,	{ ALL, EBX_7, ECX_7, EDX_7 } },
	{ 0x7,		1, INDEXED,	{ EAX_7_1, 0, 0, EDX_7_1 } },
	{ 0x7,		2, INDEXED,	{ 0, 0, 0, EDX_7_2 } },
	{ 0x80000000,	0, PLAIN,	{ ALL, ALL, ALL, ALL } },
	{ 0x80000001,	0, PLAIN,	{ ALL, 0, ECX_81, EDX_81 } },
	{ 0x80000002,	0, PLAIN,	{ ALL, ALL, ALL, ALL } },
	{ 0x80000003,	0, PLAIN,	{ ALL, ALL, ALL, ALL } },
	{ 0x80000004,	0, PLAIN,	{ ALL, ALL, ALL, ALL } },
	{ 0x80000005,	0, PLAIN,	{ ALL, ALL, ALL, ALL } },
	{ 0x80000006,	0, PLAIN,	{ ALL, ALL, ALL, ALL } },
	/* Invariant TSC */
	{ 0x80000007,	0, PLAIN,	{ 0, 0, 0, BIT(8) } },
	{ 0x80000008,	0, PLAIN,	{ 0xffff, EBX_88, 0, 0 } },
	{ 0x80000019,	0, PLAIN,	{ ALL, ALL, 0, 0 } },
	{ 0x8000001a,	0, PLAIN,	{ ALL, 0, 0, 0 } },
	{ 0x8000001d,	0, CACHE,	{ 0x3fff, ALL, ALL, ALL } },
	{ 0x80000021,	0, PLAIN,	{ EAX_821, 0, 0, 0 } },
};

/* Registers that the kernel keeps a cleaned copy of */
static const struct {
	u32 leaf;
	u8 index, reg, word;
} cap_words[] = {
	{ 0x1,		0, LEAF_EDX, CPUID_1_EDX },
	{ 0x1,		0, LEAF_ECX, CPUID_1_ECX },
	{ 0x7,		0, LEAF_EBX, CPUID_7_0_EBX },
	{ 0x7,		0, LEAF_ECX, CPUID_7_ECX },
	{ 0x7,		0, LEAF_EDX, CPUID_7_EDX },
	{ 0x7,		1, LEAF_EAX, CPUID_7_1_EAX },
	{ 0xd,		1, LEAF_EAX, CPUID_D_1_EAX },
	{ 0x80000001,	0, LEAF_ECX, CPUID_8000_0001_ECX },
	{ 0x80000001,	0, LEAF_EDX, CPUID_8000_0001_EDX },
	{ 0x80000008,	0, LEAF_EBX, CPUID_8000_0008_EBX },
};

static struct cpuid_regs4 host_cpuid(u32 leaf, u32 index)
{
	struct cpuid_regs4 r;

	cpuid_count(leaf, index, &r.r[LEAF_EAX], &r.r[LEAF_EBX], &r.r[LEAF_ECX], &r.r[LEAF_EDX]);
	return r;
}

static bool host_has_leaf(u32 leaf)
{
	u32 base = leaf & 0x80000000, max = cpuid_eax(base);

	return max >= leaf && (max & 0x80000000) == base;
}

static struct kvm_cpuid_entry2 *add_entry(u32 leaf, u32 index, bool indexed)
{
	struct kvm_cpuid_entry2 *e;

	if (host.nr >= CPUID_MAX_ENTRIES)
		return NULL;
	e = &supported[host.nr++];
	e->function = leaf;
	e->index = index;
	e->flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
	return e;
}

static void add_masked(const struct leaf_row *row, u32 index)
{
	struct cpuid_regs4 r = host_cpuid(row->leaf, index);
	struct kvm_cpuid_entry2 *e;
	unsigned int i;

	e = add_entry(row->leaf, index, row->kind == INDEXED || row->kind == CACHE);
	for (i = 0; e && i < LEAF_NR_REGS; i++)
		*cpuid_entry_reg(e, i) = row->kind == SYNTH ? row->mask[i] : r.r[i] & row->mask[i];
}

static void add_row(const struct leaf_row *row)
{
	unsigned int i;

	if (!host_has_leaf(row->leaf))
		return;
	if (row->kind == INDEXED && row->index && host_cpuid(row->leaf, 0).r[LEAF_EAX] < row->index)
		return;
	if (row->kind != CACHE) {
		add_masked(row, row->index);
		return;
	}
	for (i = 0; i < 8; i++) {
		add_masked(row, i);
		/* Cache type 0: no more caches; this entry is the end mark. */
		if (!(host_cpuid(row->leaf, i).r[LEAF_EAX] & 0x1f))
			break;
	}
}

static void mask_by_kernel(void)
{
	struct kvm_cpuid_entry2 *e;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cap_words); i++) {
		e = cpuid_table_find(&host, cap_words[i].leaf, cap_words[i].index);
		if (e)
			*cpuid_entry_reg(e, cap_words[i].reg) &=
				boot_cpu_data.x86_capability[cap_words[i].word];
	}
}

/*
 * Leaf 0xD: components, and the sizes with everything enabled (a vCPU's own entries follow its
 * XCR0)
 */
static void add_xsave(void)
{
	struct kvm_cpuid_entry2 *e;
	struct cpuid_regs4 r;
	unsigned int i;

	if (!boot_cpu_has(X86_FEATURE_XSAVE) || !host_has_leaf(0xd))
		return;
	cpuid_host_xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK) & XCR0_HONOURED;
	if (!boot_cpu_has(X86_FEATURE_OSPKE))
		cpuid_host_xcr0 &= ~XCR0_PKRU;
	for (i = 2; i < 63; i++) {
		r = host_cpuid(0xd, i);
		cpuid_host_components[i] = (struct cpuid_component) {
			.size = r.r[LEAF_EAX],
			.offset = r.r[LEAF_EBX],
			.aligned = r.r[LEAF_ECX] & BIT(1),
		};
	}

	e = add_entry(0xd, 0, true);
	e->eax = cpuid_host_xcr0;
	e->edx = cpuid_host_xcr0 >> 32;
	e->ebx = cpuid_xsave_size(cpuid_host_xcr0, false, cpuid_host_components);
	e->ecx = e->ebx;
	r = host_cpuid(0xd, 1);
	e = add_entry(0xd, 1, true);
	e->eax = r.r[LEAF_EAX] & EAX_D_1;
	if (e->eax & (BIT(1) | BIT(3)))
		e->ebx = cpuid_xsave_size(cpuid_host_xcr0 | cpuid_host_xss, true,
					  cpuid_host_components);
	e->ecx = cpuid_host_xss;
	e->edx = cpuid_host_xss >> 32;
	for (i = 2; i < 63; i++) {
		if (!((cpuid_host_xcr0 | cpuid_host_xss) & BIT_ULL(i)))
			continue;
		r = host_cpuid(0xd, i);
		e = add_entry(0xd, i, true);
		e->eax = r.r[LEAF_EAX];
		e->ebx = r.r[LEAF_EBX];
		e->ecx = r.r[LEAF_ECX] & (BIT(0) | BIT(1));
	}
}

/* What the host's CPUID does not say: this is a hypervisor, and what it emulates. */
static void add_own(void)
{
	struct kvm_cpuid_entry2 *e;

	e = add_entry(KVM_CPUID_SIGNATURE, 0, false);
	e->eax = KVM_CPUID_FEATURES;
	e->ebx = 0x4b4d564b;	/* KVM_SIGNATURE */
	e->ecx = 0x564b4d56;
	e->edx = 0x4d;
	e = add_entry(KVM_CPUID_FEATURES, 0, false);
	e->eax = pv_offered();

	/*
	 * x2APIC comes with the local APIC in the kernel; the TSC-deadline timer too, which has a
	 * capability of its own.
	 */
	cpuid_host_set(0x1, 0, LEAF_ECX, BIT(31) | BIT(21));
	cpuid_host_set(0x7, 0, LEAF_EBX, BIT(1));
	if (boot_cpu_has(X86_FEATURE_LFENCE_RDTSC) && host_has_leaf(0x80000021))
		cpuid_host_set(0x80000021, 0, LEAF_EAX, BIT(2));
}

static void clamp_max(u32 leaf, u32 highest)
{
	struct kvm_cpuid_entry2 *e = cpuid_table_find(&host, leaf, 0);

	if (e)
		e->eax = min(e->eax, highest);
}

void cpuid_host_init(void)
{
	struct kvm_cpuid_entry2 *e;
	unsigned int i;

	/* Backends may have taken features out already. */
	if (host.nr)
		return;
	host.entry = supported;
	for (i = 0; i < ARRAY_SIZE(leaf_rows); i++)
		add_row(&leaf_rows[i]);
	add_xsave();
	cpuid_table_build(&host);
	mask_by_kernel();
	clamp_max(0, HIGHEST_BASIC);
	clamp_max(0x80000000, HIGHEST_EXTENDED);
	e = cpuid_table_find(&host, 7, 0);
	if (e)
		e->eax = min(e->eax, 2u);
	add_own();
	cpuid_table_build(&host);

	if (!boot_cpu_has(X86_FEATURE_OSPKE))
		cpuid_host_clear(0x7, 0, LEAF_ECX, BIT(3));
	/* The kernel switched XSAVE off: nothing that needs a VEX prefix works. */
	if (!boot_cpu_has(X86_FEATURE_XSAVE))
		cpuid_host_clear(0x1, 0, LEAF_ECX, BIT(12) | BIT(26) | BIT(28) | BIT(29));
}

void cpuid_host_clear(u32 leaf, u32 index, enum cpuid_reg reg, u32 bits)
{
	struct kvm_cpuid_entry2 *e;

	cpuid_host_init();
	cpuid_host_changed();
	e = cpuid_table_find(&host, leaf, index);
	if (e)
		*cpuid_entry_reg(e, reg) &= ~bits;
}

void cpuid_host_set(u32 leaf, u32 index, enum cpuid_reg reg, u32 bits)
{
	struct kvm_cpuid_entry2 *e, *range;

	cpuid_host_init();
	cpuid_host_changed();
	e = cpuid_table_find(&host, leaf, index);
	if (!e) {
		e = add_entry(leaf, index, leaf == 7 || leaf == 0xd);
		if (WARN_ON_ONCE(!e))
			return;
		range = cpuid_table_find(&host, leaf & 0x80000000, 0);
		if (range && range->eax < leaf && (leaf & 0xc0000000) != 0x40000000)
			range->eax = leaf;
		cpuid_table_build(&host);
	}
	*cpuid_entry_reg(e, reg) |= bits;
}

u32 cpuid_host_supported(u32 leaf, u32 index, enum cpuid_reg reg)
{
	struct kvm_cpuid_entry2 *e = cpuid_table_find(&host, leaf, index);

	return e ? *cpuid_entry_reg(e, reg) : 0;
}

const struct cpuid_table *cpuid_host_table(void)
{
	return &host;
}

static long get_table(unsigned long raw, const struct kvm_cpuid_entry2 *entry, u32 nr)
{
	struct kvm_cpuid2 __user *user = (void __user *)raw;
	struct kvm_cpuid2 head;

	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	if (head.nent < nr)
		return -E2BIG;
	if (nr && copy_to_user(user->entries, entry, array_size(nr, sizeof(*entry))))
		return -EFAULT;
	return put_user(nr, &user->nent);
}

static long get_supported_cpuid(void *data, unsigned long raw)
{
	return get_table(raw, supported, host.nr);
}

/* No instruction is emulated on #UD, so there is nothing to offer beyond the supported table. */
static long get_emulated_cpuid(void *data, unsigned long raw)
{
	return get_table(raw, NULL, 0);
}

const struct ioctl_row cpuid_dev_ioctls[] = {
	{ KVM_GET_SUPPORTED_CPUID, IOCTL_RAW, .dev = get_supported_cpuid },
	{ KVM_GET_EMULATED_CPUID,  IOCTL_RAW, .dev = get_emulated_cpuid },
};
const unsigned int cpuid_nr_dev_ioctls = ARRAY_SIZE(cpuid_dev_ioctls);
