// SPDX-License-Identifier: GPL-2.0
/*
 * Suite of the checks of guest state: states of each mode that an entry takes, and each of them
 * spoilt in one thing.
 */
#include "arch/x86/vmx/guest_check.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct vmx_limits limits = {
	.cr0_must = 0x20, .cr0_may = 0xffffffff, .cr4_must = 0x2000, .cr4_may = 0x3767ff, .phys_bits = 39, .virt_bits = 48,
};

static void flat(struct vmx_guest *g, u32 cs_rights, u32 rights)
{
	unsigned int i;

	for (i = VMX_ES; i <= VMX_GS; i++)
		g->seg[i] = (struct vmx_guest_seg) { .selector = 0x10, .limit = 0xffffffff, .rights = rights };
	g->seg[VMX_CS] = (struct vmx_guest_seg) { .selector = 8, .limit = 0xffffffff, .rights = cs_rights };
	g->seg[VMX_LDTR] = (struct vmx_guest_seg) { .rights = 0x10082 };
	g->seg[VMX_TR] = (struct vmx_guest_seg) { .selector = 0x18, .limit = 0x67, .rights = 0x8b };
}

static void common(struct vmx_guest *g)
{
	*g = (struct vmx_guest) {
		.cr0 = 0x31, .cr4 = 0x2000, .dr7 = 0x400, .pat = 0x0007040600070406, .rip = 0x1000, .rflags = 2, .link = ~0ull,
	};
}

static void long_mode(struct vmx_guest *g)
{
	common(g);
	g->cr0 = 0x80000031;
	g->cr4 = 0x20a0;
	g->efer = 0xd01;
	g->entry = 1 << 9;
	flat(g, 0xa09b, 0xc093);
}

static void protected(struct vmx_guest *g)
{
	common(g);
	flat(g, 0xc09b, 0xc093);
}

static void pae(struct vmx_guest *g)
{
	protected(g);
	g->cr0 |= 0x80000000;
	g->cr4 |= 0x20;
	g->pdpte[0] = 0x1001;
}

static void real(struct vmx_guest *g)
{
	unsigned int i;

	common(g);
	g->cr0 = 0x30;
	flat(g, 0x93, 0x93);
	for (i = VMX_ES; i <= VMX_GS; i++)
		g->seg[i] = (struct vmx_guest_seg) { .selector = 0x1000, .base = 0x10000, .limit = 0xffff, .rights = 0x93 };
}

static void v86(struct vmx_guest *g)
{
	unsigned int i;

	protected(g);
	g->rflags |= 1 << 17;
	for (i = VMX_ES; i <= VMX_GS; i++)
		g->seg[i] = (struct vmx_guest_seg) { .selector = 0x1000, .base = 0x10000, .limit = 0xffff, .rights = 0xf3 };
}

static void user(struct vmx_guest *g)
{
	long_mode(g);
	flat(g, 0xa0fb, 0xc0f3);
}

#define SEG(s) (g->seg[VMX_##s])

/* Is @expected, NULL for none, the check that the state fails? */
static void expect(const char *expected, const struct vmx_guest *g, const char *what)
{
	const char *got = vmx_failed_check(g, &limits);

	ck_assert_msg(got == expected || (got && expected && !strcmp(got, expected)), "%s: expected %s, got %s", what, expected ?: "none", got ?: "none");
}

/* A state of @mode after @spoil */
#define ROW(expected, mode, ...) do {					\
	struct vmx_guest state, *g = &state;				\
									\
	mode(g);							\
	__VA_ARGS__;							\
	expect(expected, g, #mode ", " #__VA_ARGS__);			\
} while (0)

START_TEST(modes)
{
	ROW(NULL, long_mode, (void)g);
	ROW(NULL, protected, (void)g);
	ROW(NULL, pae, (void)g);
	ROW(NULL, real, (void)g);
	ROW(NULL, v86, (void)g);
	ROW(NULL, user, (void)g);
}
END_TEST

START_TEST(registers)
{
	ROW("CR0", long_mode, g->cr0 &= ~0x20ull);
	ROW("CR0", protected, g->cr0 |= 1ull << 32);
	ROW("CR0", real, g->cr0 |= 1ull << 31);
	ROW("CR4", long_mode, g->cr4 &= ~0x2000ull);
	ROW("CR4", long_mode, g->cr4 |= 1 << 15);
	ROW("DEBUGCTL", protected, g->debugctl = 1 << 2);
	ROW("DEBUGCTL", protected, g->debugctl = 1 << 16);
	ROW(NULL, protected, g->debugctl = 3);
	ROW("paging mode", long_mode, g->cr4 &= ~0x20ull);
	ROW("paging mode", long_mode, g->cr0 &= ~(1ull << 31));
	ROW("paging mode", protected, g->cr4 |= 1 << 17);
	ROW(NULL, long_mode, g->cr4 |= 1 << 17);
	ROW("CR3", protected, g->cr3 = 1ull << 39);
	ROW(NULL, protected, g->cr3 = (1ull << 39) - 1);
	ROW("DR7", protected, g->dr7 |= 1ull << 32);
	ROW("SYSENTER_ESP or _EIP", protected, g->sysenter_esp = 1ull << 47);
	ROW("SYSENTER_ESP or _EIP", protected, g->sysenter_eip = 1ull << 63);
	ROW("PAT", protected, g->pat |= 8);
	ROW("PAT", protected, g->pat = 2ull << 56);
	ROW("PAT", protected, g->pat = 3ull << 8);
	ROW("EFER", long_mode, g->efer |= 1 << 12);
	ROW("EFER", long_mode, g->efer &= ~(1ull << 10));
	ROW("EFER", long_mode, g->efer &= ~(1ull << 8));
	ROW("EFER", protected, g->efer |= 1 << 10);
	ROW(NULL, protected, g->efer |= 1 << 8);
}
END_TEST

START_TEST(segments)
{
	ROW("virtual-8086 segments", v86, SEG(FS).base = 0x10010);
	ROW("virtual-8086 segments", v86, SEG(ES).limit = 0xfffff);
	ROW("virtual-8086 segments", v86, SEG(CS).rights = 0x93);
	ROW("CS", long_mode, SEG(CS).rights = 0xa091);
	ROW("CS", long_mode, SEG(CS).rights = 0xa09a);
	ROW("CS", long_mode, SEG(CS).rights = 0x1a09b);
	ROW("CS", long_mode, SEG(CS).rights = 0xa01b);
	ROW("CS", long_mode, SEG(CS).rights = 0xa08b);
	ROW("CS", long_mode, SEG(CS).rights = 0xa19b);
	ROW("CS", long_mode, SEG(CS).rights = 0xe09b);
	ROW("CS", long_mode, SEG(CS).rights = 0xa0fb);
	ROW("CS", user, SEG(CS).rights = 0xa09b);
	ROW(NULL, user, SEG(CS).rights = 0xa09f);
	ROW("CS", long_mode, SEG(CS).rights = 0xa0ff);
	ROW("CS", protected, SEG(CS).rights = 0xc0f3);
	ROW(NULL, protected, SEG(CS).rights = 0xc093);
	ROW(NULL, protected, SEG(CS).rights = 0xe09b);
	ROW("CS", protected, SEG(CS).limit = 0xfffffffe);
	ROW("CS", protected, SEG(CS).rights = 0x409b);
	ROW("CS", protected, SEG(CS).base = 1ull << 32);
	ROW("SS", protected, SEG(SS).rights = 0xc099);
	ROW("SS", protected, SEG(SS).rights = 0xc092);
	ROW(NULL, protected, SEG(SS).rights = 0xc097);
	ROW("SS", protected, SEG(SS).rights = 0xc083);
	ROW("SS", protected, SEG(SS).base = 1ull << 32);
	ROW(NULL, protected, SEG(SS).rights = 0x10000);
	ROW("SS", protected, SEG(CS).rights = 0xc093; SEG(SS).rights = 0xc0f3);
	ROW("SS", real, SEG(SS).rights = 0xf3);
	ROW("DS, ES, FS or GS", protected, SEG(DS).rights = 0xc092);
	ROW("DS, ES, FS or GS", protected, SEG(ES).rights = 0xc099);
	ROW(NULL, protected, SEG(ES).rights = 0xc09b);
	ROW("DS, ES, FS or GS", protected, SEG(DS).base = 1ull << 32);
	ROW(NULL, long_mode, SEG(FS).base = 1ull << 32);
	ROW("DS, ES, FS or GS", long_mode, SEG(GS).base = 1ull << 47);
	ROW("DS, ES, FS or GS", long_mode, SEG(FS).rights = 0x10000; SEG(FS).base = 1ull << 62);
	ROW(NULL, long_mode, SEG(DS).rights = 0x10000; SEG(DS).base = 1ull << 62);
	ROW("TR", long_mode, SEG(TR).rights = 0x83);
	ROW(NULL, protected, SEG(TR).rights = 0x83);
	ROW("TR", protected, SEG(TR).rights = 0x89);
	ROW("TR", protected, SEG(TR).rights = 0x9b);
	ROW("TR", protected, SEG(TR).rights = 0x0b);
	ROW("TR", protected, SEG(TR).rights = 0x1008b);
	ROW("TR", protected, SEG(TR).selector = 4);
	ROW("TR", long_mode, SEG(TR).base = 1ull << 47);
	ROW("LDTR", protected, SEG(LDTR).rights = 0x83);
	ROW(NULL, protected, SEG(LDTR).rights = 0x82);
	ROW("LDTR", protected, SEG(LDTR).rights = 0x82; SEG(LDTR).selector = 0xc);
	ROW("LDTR", protected, SEG(LDTR).rights = 0x82; SEG(LDTR).base = 1ull << 47);
	ROW(NULL, protected, SEG(LDTR).base = 1ull << 47);
	ROW("GDTR or IDTR", protected, g->gdt_base = 1ull << 47);
	ROW("GDTR or IDTR", protected, g->idt_base = 1ull << 47);
}
END_TEST

START_TEST(rip_and_rflags)
{
	ROW("RIP", long_mode, g->rip = 1ull << 48);
	ROW(NULL, long_mode, g->rip = 1ull << 47);
	ROW(NULL, long_mode, g->rip = ~0ull << 48);
	ROW("RIP", protected, g->rip = 1ull << 32);
	ROW("RIP", long_mode, g->rip = 1ull << 32; SEG(CS).rights = 0xc09b);
	ROW("RFLAGS", protected, g->rflags = 0);
	ROW("RFLAGS", protected, g->rflags |= 1 << 3);
	ROW("RFLAGS", protected, g->rflags |= 1 << 15);
	ROW("RFLAGS", protected, g->rflags |= 1 << 22);
	ROW("RFLAGS", protected, g->intr_info = 0x80000030);
	ROW(NULL, protected, g->intr_info = 0x80000030; g->rflags |= 1 << 9);
	ROW("RFLAGS", v86, g->cr0 &= ~1ull);
}
END_TEST

START_TEST(blocking)
{
	ROW("activity state", protected, g->activity = 2);
	ROW(NULL, protected, g->activity = 1);
	ROW("activity state", user, g->activity = 1);
	ROW("activity state", protected, g->activity = 1; g->blocking = 2);
	ROW("interruptibility", protected, g->blocking = 1);
	ROW(NULL, protected, g->blocking = 1; g->rflags |= 1 << 9);
	ROW("interruptibility", protected, g->blocking = 3; g->rflags |= 1 << 9);
	ROW(NULL, protected, g->blocking = 2);
	ROW("interruptibility", protected, g->blocking = 4);
	ROW(NULL, protected, g->blocking = 8);
	ROW("interruptibility", protected, g->blocking = 1 << 5);
	ROW("interruptibility", protected, g->blocking = 2; g->intr_info = 0x80000030; g->rflags |= 1 << 9);
	ROW("interruptibility", protected, g->blocking = 8; g->intr_info = 0x80000202);
	ROW("interruptibility", protected, g->blocking = 2; g->intr_info = 0x80000202);
	ROW(NULL, protected, g->blocking = 2; g->intr_info = 0x80000306);
	ROW("pending debug exceptions", protected, g->pending = 1 << 4);
	ROW("pending debug exceptions", protected, g->blocking = 2; g->pending = 1 << 14);
	ROW("pending debug exceptions", protected, g->blocking = 2; g->rflags |= 1 << 8);
	ROW(NULL, protected, g->blocking = 2; g->rflags |= 1 << 8; g->pending = 1 << 14);
	ROW("pending debug exceptions", protected, g->blocking = 2; g->rflags |= 1 << 8; g->pending = 1 << 14; g->debugctl = 2);
	ROW("pending debug exceptions", protected, g->activity = 1; g->pending = 1 << 14);
	ROW(NULL, protected, g->pending = 1 << 14);
	ROW("VMCS link pointer", protected, g->link = 0);
}
END_TEST

START_TEST(pdptes)
{
	ROW("PDPTEs", pae, g->pdpte[0] |= 2);
	ROW("PDPTEs", pae, g->pdpte[3] = 1 | 1ull << 39);
	ROW(NULL, pae, g->pdpte[1] = 0x1e6);
	ROW(NULL, long_mode, g->pdpte[0] = 0x1e7);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vmx guest check");
	TCase *t = tcase_create("checks");
	SRunner *r;
	int failed;

	tcase_add_test(t, modes);
	tcase_add_test(t, registers);
	tcase_add_test(t, segments);
	tcase_add_test(t, rip_and_rflags);
	tcase_add_test(t, blocking);
	tcase_add_test(t, pdptes);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
