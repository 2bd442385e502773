// SPDX-License-Identifier: GPL-2.0
/*
 * What: what a guest hypervisor (L1) is offered beyond bare SVM, by the module's parameters; clean
 * bits, flushes of one ASID.
 * Conditions: guests are offered SVM and the feature.
 * Expected: what L1 says it has changed counts; what it says it has not, is what it was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "npt.h"

#define ALL_CLEAN	0xffffffffull

enum {
	CLEAN_INTERCEPTS,
	CLEAN_PERM_MAP,
	CLEAN_ASID,
	CLEAN_INTR,
	CLEAN_NPT,
	CLEAN_CR,
	CLEAN_DR,
	CLEAN_DT,
	CLEAN_SEG,
	CLEAN_CR2
};

/* Features, the module parameter that each goes by, and whether the CPU has to have it */
static const struct {
	u32 feature;
	const char *param;
	bool cpus;
} offers[] = {
	{ SVM_FEATURE_NP, NULL, false },
	{ SVM_FEATURE_NRIPS, "nrips", true },
	{ SVM_FEATURE_CLEAN, "clean_bits", false },
	{ SVM_FEATURE_FLUSH_ASID, "flush_by_asid", false },
	{ SVM_FEATURE_PAUSE, "pause_filter", true },
	{ SVM_FEATURE_PAUSE_GAP, "pause_filter", true },
	{ SVM_FEATURE_VGIF, "vgif", false },
};

static bool parameter(const char *name)
{
	char path[128];
	FILE *f;
	int c;

	snprintf(path, sizeof(path), "/sys/module/strata/parameters/%s", name);
	f = fopen(path, "r");
	REQUIRE(f);
	c = fgetc(f);
	fclose(f);
	return c == 'Y';
}

/* VMMs move the MSRs that are listed. */
TEST(listed_msrs)
{
	struct {
		struct kvm_msr_list head;
		u32 index[1024];
	} list = { .head.nmsrs = 1024 };
	unsigned int i, hsave = 0, vm_cr = 0;
	int kvm = kvm_open();

	need_svm();
	STRATA_ONLY("the in-tree module does not list VM_CR");
	xioctl(kvm, KVM_GET_MSR_INDEX_LIST, &list);
	for (i = 0; i < list.head.nmsrs; i++) {
		hsave += list.index[i] == MSR_VM_HSAVE_PA;
		vm_cr += list.index[i] == MSR_VM_CR;
	}
	CHECK_EQ(hsave, 1);
	CHECK_EQ(vm_cr, 1);
	close(kvm);
}

TEST(offered)
{
	u32 host[4], want = 0;
	unsigned int i;

	need_svm();
	STRATA_ONLY("what is offered is the module's affair");
	cpuid(0x8000000a, 0, host);
	for (i = 0; i < sizeof(offers) / sizeof(offers[0]); i++)
		if ((!offers[i].cpus || (host[3] & offers[i].feature)) &&
		    (!offers[i].param || parameter(offers[i].param)))
			want |= offers[i].feature;
	tap_note("the CPU has %#x", host[3]);
	CHECK_EQ(svm_features(), want);
}

static volatile u64 l2_cr2, l2_dr7, l2_ds, l2_idt, l2_cr3, l2_count;

static void l2_look(void)
{
	for (;;) {
		struct { u16 limit; u64 base; } __attribute__((packed)) idt;
		u64 v;

		asm volatile("mov %%cr2, %0" : "=r"(v));
		l2_cr2 = v;
		asm volatile("mov %%dr7, %0" : "=r"(v));
		l2_dr7 = v;
		asm volatile("mov %%ds, %0" : "=r"(v));
		l2_ds = v & 0xffff;
		asm volatile("mov %%cr3, %0" : "=r"(v));
		l2_cr3 = v;
		asm volatile("sidt %0" : "=m"(idt));
		l2_idt = idt.limit;
		l2_count++;
		vmmcall();
	}
}

static u64 look(struct svm_vmcb *b, u64 clean)
{
	u64 code;

	b->clean = clean;
	b->rip = (u64)l2_look;
	code = svm_vmrun(b);
	GUEST_ASSERT_EQ(code, SVM_EXIT_VMMCALL);
	return code;
}

/* A bit that is clear: the field is read, whatever all others say. */
static void guest_clean(void)
{
	struct svm_vmcb *b = &svm_vmcb;
	u64 i;

	svm_guest_init(l2_look);
	b->dr7 = 0x400;
	look(b, 0);
	for (i = 0; i < 3; i++) {
		b->dr7 = 0x400 | 1 << (2 * i);
		look(b, ALL_CLEAN & ~(1ull << CLEAN_DR));
		GUEST_ASSERT_EQ(l2_dr7, b->dr7);
		b->ds.selector = 8 * (2 + i);
		look(b, ALL_CLEAN & ~(1ull << CLEAN_SEG));
		GUEST_ASSERT_EQ(l2_ds, 8 * (2 + i));
		b->idtr.limit = 0x7ff + i;
		look(b, ALL_CLEAN & ~(1ull << CLEAN_DT));
		GUEST_ASSERT_EQ(l2_idt, 0x7ff + i);
		b->cr3 ^= 0x18;
		look(b, ALL_CLEAN & ~(1ull << CLEAN_CR));
		GUEST_ASSERT_EQ(l2_cr3, b->cr3);
		/* What no bit stands for is always read. */
		look(b, ALL_CLEAN);
		GUEST_ASSERT_EQ(l2_dr7, b->dr7);
		GUEST_ASSERT_EQ(l2_ds, 8 * (2 + i));
		GUEST_ASSERT_EQ(l2_cr3, b->cr3);
	}
	/* Intercepts */
	svm_intercept(b, SVM_EXIT_READ_CR3, true);
	b->clean = ALL_CLEAN & ~(1ull << CLEAN_INTERCEPTS);
	b->rip = (u64)l2_look;
	GUEST_ASSERT_EQ(svm_vmrun(b), SVM_EXIT_READ_CR3);
	svm_intercept(b, SVM_EXIT_READ_CR3, false);
	look(b, ALL_CLEAN & ~(1ull << CLEAN_INTERCEPTS));
	guest_done();
}

TEST(clean_bits)
{
	svm_run_with(guest_clean, SVM_FEATURE_CLEAN);
}

/*
 * A bit that is set says that the field may be taken from where it was: it is, so that a change is
 * not seen.
 */
static void guest_kept(void)
{
	struct svm_vmcb *b = &svm_vmcb;

	svm_guest_init(l2_look);
	b->dr7 = 0x401;
	look(b, 0);
	b->dr7 = 0x404;
	look(b, ALL_CLEAN);
	GUEST_ASSERT_EQ(l2_dr7, 0x401);
	GUEST_ASSERT_EQ(b->dr7, 0x401);
	/* The rest of the block is looked at as ever. */
	b->asid = 0;
	b->clean = ALL_CLEAN & ~(1ull << CLEAN_ASID);
	GUEST_ASSERT_EQ(svm_vmrun(b), SVM_INVALID);
	/* After a refusal nothing is known. */
	b->asid = 1;
	b->dr7 = 0x410;
	look(b, ALL_CLEAN);
	GUEST_ASSERT_EQ(l2_dr7, 0x410);
	guest_done();
}

TEST(clean_bits_are_used)
{
	STRATA_ONLY("a CPU may ignore the clean bits");
	svm_run_with(guest_kept, SVM_FEATURE_CLEAN);
}

/* Two control blocks by turns, each as it was left: the copy that is kept is of one of them. */
static struct svm_vmcb second;

static void guest_two(void)
{
	u64 i;

	svm_guest_init(l2_look);
	memcpy(&second, &svm_vmcb, sizeof(second));
	svm_vmcb.dr7 = 0x401;
	second.dr7 = 0x404;
	svm_vmcb.cr2 = 0x1000;
	second.cr2 = 0x2000;
	look(&svm_vmcb, 0);
	look(&second, 0);
	for (i = 0; i < 4; i++) {
		look(&svm_vmcb, ALL_CLEAN);
		GUEST_ASSERT_EQ(l2_dr7, 0x401);
		GUEST_ASSERT_EQ(svm_vmcb.cr2, l2_cr2);
		look(&second, ALL_CLEAN);
		GUEST_ASSERT_EQ(l2_dr7, 0x404);
		GUEST_ASSERT_EQ(second.cr2, l2_cr2);
	}
	guest_done();
}

TEST(two_control_blocks)
{
	svm_run_with(guest_two, SVM_FEATURE_CLEAN);
}

/* TLB_CONTROL 3 and 7: what L1 took away in the ASID is gone. */
static struct npt npt;

static void guest_flush(void)
{
	u64 page, how;

	npt_guest_init(&npt, NPT_4LEVEL);
	page = npt_page();
	for (how = 3; how <= 7; how += 4) {
		svm_vmcb.tlb_ctl = 0;
		npt_set(&npt, NPT_PLAY, 1, page | NPT_RWX);
		GUEST_ASSERT_DONE(NPT_WRITE, NPT_PLAY);
		npt_set(&npt, NPT_PLAY, 1, 0);
		svm_vmcb.tlb_ctl = how;
		GUEST_ASSERT_NPF(NPT_WRITE, NPT_PLAY, PF_USER | PF_WRITE | NPF_FINAL);
	}
	guest_done();
}

TEST(flush_of_one_asid)
{
	need_npt();
	svm_run_with(guest_flush, SVM_FEATURE_FLUSH_ASID);
}
