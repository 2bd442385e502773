// SPDX-License-Identifier: GPL-2.0
/*
 * Suite of the choice of controls: a CPU with everything, then without each bit in turn, then with
 * each parameter off. Bits and words are the SDM's.
 */
#include "arch/x86/vmx/caps_pure.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* Registers, as offsets in struct vmx_cap_msrs */
#define MSR(field) offsetof(struct vmx_cap_msrs, field)
#define MSR_NR (sizeof(struct vmx_cap_msrs) / sizeof(u64))

static const struct vmx_params all_on = {
	.vpid = true, .ept_ad = true, .ept_1g = true, .rdtscp = true, .invpcid = true, .xsaves = true, .pml = true, .ple = true,
	.tsc_scaling = true, .preemption_timer = true, .tpr_shadow = true, .apicv = true, .perf_global_ctrl = true,
};

/* What must be 1 without "true" controls, but for what strata wants to be 0 */
static const struct vmx_cap_msrs everything = {
	.basic = 0x12 | 4096ull << 32 | 6ull << 50 | VMX_BASIC_TRUE, .pin = 0xffffffff00000016, .cpu = 0xffffffff04006172, .cpu2 = 0xffffffff00000000,
	.exit = 0xffffffff00036dfb, .entry = 0xffffffff000011fb, .ept_vpid = ~0ull, .misc = 5, .cr0_fixed0 = 0x80000021, .cr4_fixed0 = 0x2000,
};

static u64 *reg(struct vmx_cap_msrs *m, size_t where)
{
	return (u64 *)((char *)m + where);
}

/*
 * What strata cannot do without. @bit is the register's: 32 more for the half of controls that may
 * be 1.
 */
struct needed {
	const char *name, *where;
	size_t msr;
	unsigned int bit;
	bool set;		/* missing if the bit is 1 */
};

#define PIN "pin-based control"
#define CPU "primary processor-based control"
#define CPU2 "secondary processor-based control"
#define EPT "IA32_VMX_EPT_VPID_CAP"

static const struct needed needed[] = {
	{ "external-interrupt exiting", PIN, MSR(pin), 0, false },
	{ "NMI exiting", PIN, MSR(pin), 3, false },
	{ "virtual NMIs", PIN, MSR(pin), 5, false },
	{ "interrupt-window exiting", CPU, MSR(cpu), 2, false },
	{ "use TSC offsetting", CPU, MSR(cpu), 3, false },
	{ "HLT exiting", CPU, MSR(cpu), 7, false },
	{ "MWAIT exiting", CPU, MSR(cpu), 10, false },
	{ "RDPMC exiting", CPU, MSR(cpu), 11, false },
	{ "CR8-load exiting", CPU, MSR(cpu), 19, false },
	{ "CR8-store exiting", CPU, MSR(cpu), 20, false },
	{ "NMI-window exiting", CPU, MSR(cpu), 22, false },
	{ "MOV-DR exiting", CPU, MSR(cpu), 23, false },
	{ "unconditional I/O exiting", CPU, MSR(cpu), 24, false },
	{ "use MSR bitmaps", CPU, MSR(cpu), 28, false },
	{ "MONITOR exiting", CPU, MSR(cpu), 29, false },
	{ "activate secondary controls", CPU, MSR(cpu), 31, false },
	{ "no INVLPG exiting", CPU, MSR(cpu), 9, true },
	{ "no RDTSC exiting", CPU, MSR(cpu), 12, true },
	{ "no CR3-load exiting", CPU, MSR(cpu), 15, true },
	{ "no CR3-store exiting", CPU, MSR(cpu), 16, true },
	{ "enable EPT", CPU2, MSR(cpu2), 1, false },
	{ "WBINVD exiting", CPU2, MSR(cpu2), 6, false },
	{ "unrestricted guest", CPU2, MSR(cpu2), 7, false },
	{ "save debug controls", "VM-exit control", MSR(exit), 2, false },
	{ "host address-space size", "VM-exit control", MSR(exit), 9, false },
	{ "load IA32_PAT (exit)", "VM-exit control", MSR(exit), 19, false },
	{ "load IA32_EFER (exit)", "VM-exit control", MSR(exit), 21, false },
	{ "load debug controls", "VM-entry control", MSR(entry), 2, false },
	{ "IA-32e mode guest", "VM-entry control", MSR(entry), 9, false },
	{ "load IA32_PAT (entry)", "VM-entry control", MSR(entry), 14, false },
	{ "load IA32_EFER (entry)", "VM-entry control", MSR(entry), 15, false },
	{ "EPT walks of four levels", EPT, MSR(ept_vpid), 6, false },
	{ "write-back EPT", EPT, MSR(ept_vpid), 14, false },
	{ "2M pages of EPT", EPT, MSR(ept_vpid), 16, false },
	{ "INVEPT", EPT, MSR(ept_vpid), 20, false },
	{ "all-context INVEPT", EPT, MSR(ept_vpid), 26, false },
	{ "VMCSs above 4G", "IA32_VMX_BASIC", MSR(basic), 48, true },
};
#define NR_NEEDED (sizeof(needed) / sizeof(needed[0]))

static bool is_control(size_t msr)
{
	return msr == MSR(pin) || msr == MSR(cpu) || msr == MSR(cpu2) || msr == MSR(exit) ||
	       msr == MSR(entry);
}

static void take_away(struct vmx_cap_msrs *m, const struct needed *n)
{
	u64 bit = 1ull << (n->bit + (is_control(n->msr) && !n->set ? 32 : 0));

	if (n->set)
		*reg(m, n->msr) |= bit;
	else
		*reg(m, n->msr) &= ~bit;
}

static unsigned int choose(struct vmx_caps *caps, const struct vmx_cap_msrs *m,
			   struct vmx_lack *lacks)
{
	memset(caps, 0xff, sizeof(*caps));
	return vmx_caps_choose(caps, m, &all_on, false, lacks);
}

START_TEST(nothing_lacks)
{
	struct vmx_lack lacks[VMX_MAX_LACKS];
	struct vmx_caps c;

	ck_assert_uint_eq(choose(&c, &everything, lacks), 0);
	/*
	 * Each control that is on: what must be, and what the header and the lists name; spelt out,
	 * so that no bit comes in unnoticed.
	 */
	ck_assert_uint_eq(c.pin, 0x16 | 0x69);
	ck_assert_uint_eq(c.cpu, 0x04006172 | 0xb1f80c8c);
	ck_assert_uint_eq(c.cpu2, 0x121297fb);
	ck_assert_uint_eq(c.exit, 0x00036dfb | 0x281204);
	ck_assert_uint_eq(c.entry, 0x000011fb | 0xe204);
	ck_assert_uint_eq(c.misc, 5);
	ck_assert_uint_eq(c.cr0_fixed, 0x80000021);
	ck_assert_uint_eq(c.cr4_fixed, 0x2000);
}
END_TEST

START_TEST(one_lacks)
{
	const struct needed *n = &needed[_i];
	struct vmx_lack lacks[VMX_MAX_LACKS];
	struct vmx_cap_msrs m = everything;
	struct vmx_caps c;
	unsigned int nr;

	take_away(&m, n);
	nr = choose(&c, &m, lacks);
	ck_assert_msg(nr == 1, "%s: %u are said to lack", n->name, nr);
	ck_assert_str_eq(lacks[0].name, n->name);
	ck_assert_str_eq(lacks[0].where, n->where);
	ck_assert_msg(lacks[0].bit == n->bit, "%s: bit %u, not %u", n->name, lacks[0].bit, n->bit);
}
END_TEST

/* All that is not in the list above may be missing, alone and together. */
START_TEST(others_may_lack)
{
	struct vmx_cap_msrs bare = everything;
	struct vmx_lack lacks[VMX_MAX_LACKS];
	struct vmx_caps c;
	unsigned int i, bit;

	bare.ept_vpid = bare.pin = bare.cpu = bare.cpu2 = bare.exit = bare.entry = 0;
	for (i = 0; i < NR_NEEDED; i++)
		if (!needed[i].set)
			*reg(&bare, needed[i].msr) |= 1ull << (needed[i].bit + (is_control(needed[i].msr) ? 32 : 0));
	ck_assert_uint_eq(choose(&c, &bare, lacks), 0);
	for (i = 0; i < MSR_NR; i++) {
		if (i * sizeof(u64) == MSR(basic))
			continue;
		for (bit = 0; bit < 64; bit++) {
			struct vmx_cap_msrs m = bare;

			if (i * sizeof(u64) == MSR(cpu) && bit < 32)
				continue;	/* must be 1: see one_lacks */
			*reg(&m, i * sizeof(u64)) |= 1ull << bit;
			ck_assert_msg(!choose(&c, &m, lacks), "register %u, bit %u", i, bit);
		}
	}
}
END_TEST

/* Everything at once fits, and what cannot be known is not blamed. */
START_TEST(all_lacks)
{
	struct vmx_lack lacks[VMX_MAX_LACKS + 1];
	struct vmx_cap_msrs m = everything;
	struct vmx_caps c;
	unsigned int i, nr, size = 0;

	for (i = 0; i < NR_NEEDED; i++)
		if (needed[i].bit != 31 && needed[i].msr != MSR(ept_vpid) &&
		    strcmp(needed[i].name, "enable EPT")) {
			take_away(&m, &needed[i]);
			size++;
		}
	m.basic = (m.basic & ~(15ull << 50)) | 0x1fffull << 32;
	lacks[VMX_MAX_LACKS].name = NULL;
	nr = choose(&c, &m, lacks);
	ck_assert_uint_eq(nr, size + 2);
	ck_assert_ptr_null(lacks[VMX_MAX_LACKS].name);
	/* Without secondary controls there are none to miss. */
	m = everything;
	m.cpu &= ~(1ull << 63);
	m.cpu2 = m.ept_vpid = 0;
	ck_assert_uint_eq(choose(&c, &m, lacks), 1);
	ck_assert_uint_eq(c.cpu2, 0);
	/* Without EPT its features are not missed one by one. */
	m = everything;
	m.cpu2 &= ~(1ull << 33);
	m.ept_vpid = 0;
	ck_assert_uint_eq(choose(&c, &m, lacks), 1);
}
END_TEST

START_TEST(other_vmcs)
{
	struct vmx_lack lacks[VMX_MAX_LACKS];
	struct vmx_cap_msrs m = everything;
	struct vmx_caps c;

	m.basic = everything.basic ^ 6ull << 50;
	ck_assert_uint_eq(choose(&c, &m, lacks), 1);
	ck_assert_str_eq(lacks[0].name, "write-back VMCSs");
	m.basic = (everything.basic & ~(0x1fffull << 32)) | 4097ull << 32;
	ck_assert_uint_eq(choose(&c, &m, lacks), 1);
	ck_assert_str_eq(lacks[0].name, "VMCSs that fit into a page");
}
END_TEST

/* ---- parameters ---- */

/* One parameter off: these bits go, and no other. */
struct param {
	const char *name;
	size_t offset;
	u32 pin, cpu, cpu2, exit, entry;
	u64 ept;
};

#define PARAM(p, ...) { .name = #p, .offset = offsetof(struct vmx_params, p), __VA_ARGS__ }

static const struct param param_rows[] = {
	PARAM(preemption_timer, .pin = 1 << 6),
	PARAM(tpr_shadow, .cpu = 1 << 21, .cpu2 = 1 << 0 | 1 << 4 | 1 << 8 | 1 << 9),
	PARAM(apicv, .cpu2 = 1 << 0 | 1 << 4 | 1 << 8 | 1 << 9),
	PARAM(rdtscp, .cpu2 = 1 << 3),
	PARAM(vpid, .cpu2 = 1 << 5),
	PARAM(ple, .cpu2 = 1 << 10),
	PARAM(invpcid, .cpu2 = 1 << 12),
	PARAM(pml, .cpu2 = 1 << 17),
	PARAM(xsaves, .cpu2 = 1 << 20),
	PARAM(tsc_scaling, .cpu2 = 1 << 25),
	PARAM(ept_ad, .cpu2 = 1 << 17, .ept = 1 << 21),
	PARAM(ept_1g, .ept = 1 << 17),
	PARAM(perf_global_ctrl, .exit = 1 << 12, .entry = 1 << 13),
};
#define NR_PARAMS (sizeof(param_rows) / sizeof(param_rows[0]))

START_TEST(one_off)
{
	const struct param *p = &param_rows[_i];
	struct vmx_lack lacks[VMX_MAX_LACKS];
	struct vmx_params params = all_on;
	struct vmx_caps c, on;

	choose(&on, &everything, lacks);
	*((bool *)&params + p->offset) = false;
	ck_assert_uint_eq(vmx_caps_choose(&c, &everything, &params, false, lacks), 0);
	ck_assert_msg(c.pin == (on.pin & ~p->pin), "%s: pin %#x", p->name, c.pin);
	ck_assert_msg(c.cpu == (on.cpu & ~p->cpu), "%s: primary %#x", p->name, c.cpu);
	ck_assert_msg(c.cpu2 == (on.cpu2 & ~p->cpu2), "%s: secondary %#x", p->name, c.cpu2);
	ck_assert_msg(c.exit == (on.exit & ~p->exit), "%s: exit %#x", p->name, c.exit);
	ck_assert_msg(c.entry == (on.entry & ~p->entry), "%s: entry %#x", p->name, c.entry);
	ck_assert_msg(c.ept_vpid == (on.ept_vpid & ~p->ept), "%s: EPT %llx", p->name, c.ept_vpid);
}
END_TEST

/* With all of them off nothing optional is left but what keeps SGX's instructions from guests. */
START_TEST(all_off)
{
	struct vmx_lack lacks[VMX_MAX_LACKS];
	struct vmx_params params = {};
	struct vmx_cap_msrs bare = everything;
	struct vmx_caps c, least;
	unsigned int i;

	ck_assert_uint_eq(NR_PARAMS, sizeof(struct vmx_params));
	ck_assert_uint_eq(vmx_caps_choose(&c, &everything, &params, false, lacks), 0);
	bare.pin &= 0xffffffff;
	bare.cpu &= 0xffffffff;
	bare.exit &= 0xffffffff;
	bare.entry &= 0xffffffff;
	bare.cpu2 = 0;
	for (i = 0; i < NR_NEEDED; i++)
		if (is_control(needed[i].msr) && !needed[i].set)
			*reg(&bare, needed[i].msr) |= 1ull << (needed[i].bit + 32);
	choose(&least, &bare, lacks);
	ck_assert_uint_eq(c.pin, least.pin);
	ck_assert_uint_eq(c.cpu, least.cpu);
	ck_assert_uint_eq(c.cpu2, least.cpu2 | 1u << 15 | 1u << 28);
	ck_assert_uint_eq(c.exit, least.exit);
	ck_assert_uint_eq(c.entry, least.entry);
}
END_TEST

START_TEST(needs_others)
{
	struct vmx_lack lacks[VMX_MAX_LACKS];
	struct vmx_cap_msrs m = everything;
	struct vmx_caps c, on;

	choose(&on, &everything, lacks);
	/* INVVPID and its all-context type */
	m.ept_vpid = everything.ept_vpid & ~(1ull << 32);
	choose(&c, &m, lacks);
	ck_assert_uint_eq(c.cpu2, on.cpu2 & ~(1u << 5));
	m.ept_vpid = everything.ept_vpid & ~(1ull << 42);
	choose(&c, &m, lacks);
	ck_assert_uint_eq(c.cpu2, on.cpu2 & ~(1u << 5));
	/* Half of virtual-interrupt delivery is none. */
	m = everything;
	m.cpu2 &= ~(1ull << (32 + 9));
	choose(&c, &m, lacks);
	ck_assert_uint_eq(c.cpu2, on.cpu2 & ~(1u << 0 | 1u << 4 | 1u << 8 | 1u << 9));
	m = everything;
	m.cpu2 &= ~(1ull << (32 + 4));
	choose(&c, &m, lacks);
	ck_assert_uint_eq(c.cpu2, on.cpu2 & ~(1u << 0 | 1u << 4 | 1u << 8 | 1u << 9));
	/* PML notes D bits. */
	m = everything;
	m.ept_vpid &= ~(1ull << 21);
	choose(&c, &m, lacks);
	ck_assert_uint_eq(c.cpu2, on.cpu2 & ~(1u << 17));
	/* Errata */
	ck_assert_uint_eq(vmx_caps_choose(&c, &everything, &all_on, true, lacks), 0);
	ck_assert_uint_eq(c.exit, on.exit & ~(1u << 12));
	ck_assert_uint_eq(c.entry, on.entry & ~(1u << 13));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vmx caps");
	TCase *t = tcase_create("choose");
	SRunner *r;
	int failed;

	tcase_add_test(t, nothing_lacks);
	tcase_add_loop_test(t, one_lacks, 0, NR_NEEDED);
	tcase_add_test(t, others_may_lack);
	tcase_add_test(t, all_lacks);
	tcase_add_test(t, other_vmcs);
	tcase_add_loop_test(t, one_off, 0, NR_PARAMS);
	tcase_add_test(t, all_off);
	tcase_add_test(t, needs_others);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
