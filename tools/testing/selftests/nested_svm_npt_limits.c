// SPDX-License-Identifier: GPL-2.0
/*
 * What: L1's nested page tables name addresses that CPUID allows and the VM's own tables do not
 * reach, and those that CPUID does not allow; so does L2's CR3; the limit of shadow pages falls far
 * below what is in use, and then L2 needs a root; a slot that L2 uses is at many places, one after
 * the other.
 * Conditions: guests are offered SVM with nested paging.
 * Expected: the former are no memory, and no other memory shows there, the latter reserved bits; L2
 * goes on with the pages that are left; the host keeps nothing for places where a slot was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "npt.h"

#define SIZE	(2ull << 20)
#define LOW	0x10000000ull
#define FAR	(1ull << 48 | LOW)	/* as LOW, to whoever looks at 48 bits */

static struct npt npt, other;

/* L1 has this many bits of physical addresses. */
static struct vm *vm_of_width(u32 bits, void *fn)
{
	struct kvm_cpuid_entry2 *e;
	struct kvm_cpuid2 *cpuid;
	struct vm *vm;

	need_npt();
	vm = vm_create(1);
	cpuid = supported_cpuid(vm->kvm);
	e = cpuid_entry(cpuid, 0x80000008, 0);
	REQUIRE(e);
	e->eax = (e->eax & ~0xff) | bits;
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	vcpu_set_long(vm->vcpu, fn, 0);
	return vm;
}

static void guest_far(void)
{
	npt_guest_init(&npt, NPT_4LEVEL);
	npt_set(&npt, NPT_PLAY, 1, LOW | NPT_RWX);
	npt_set(&npt, NPT_PLAY + 4096, 1, FAR | NPT_RWX);
	/* In 2M, too */
	npt_set(&npt, NPT_PLAY + SIZE, 2, FAR | NPT_RWX | PTE_PS);
	for (;;) {
		GUEST_ASSERT_DONE(NPT_READ, NPT_PLAY);
		guest_sync(npt_value);
		GUEST_ASSERT_DONE(NPT_READ, NPT_PLAY + 4096 + 8);
		guest_sync(npt_value);
		GUEST_ASSERT_DONE(NPT_READ, NPT_PLAY + SIZE + 8);
		guest_sync(npt_value);
	}
}

static void far_is_mmio(struct vm *vm)
{
	struct kvm_run *run = vm->vcpu->run;

	RUN_UNTIL(vm->vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(run->mmio.phys_addr, FAR + 8);
	CHECK_EQ(run->mmio.is_write, 0);
	memset(run->mmio.data, 0x55, 8);
	RUN_UNTIL_SYNC(vm->vcpu, 0x5555555555555555ull);
}

TEST(address_beyond_the_reach)
{
	u64 *mem = host_alloc(SIZE, SIZE), i;
	struct vm *vm = vm_of_width(52, guest_far);

	REQUIRE_EQ(vm_set_slot(vm, 1, 0, LOW, SIZE, mem), 0);
	for (i = 1; i <= 3; i++) {
		mem[0] = i;
		RUN_UNTIL_SYNC(vm->vcpu, i);
		far_is_mmio(vm);
		far_is_mmio(vm);
		REQUIRE(!madvise(mem, SIZE, MADV_DONTNEED));
	}
	vm_destroy(vm);
}

static void guest_narrow(void)
{
	npt_guest_init(&npt, NPT_4LEVEL);
	npt_set(&npt, NPT_PLAY, 1, 1ull << 35 | NPT_RWX);
	npt_set(&npt, NPT_PLAY + 4096, 1, 1ull << 36 | NPT_RWX);
	GUEST_ASSERT_NPF(NPT_READ, NPT_PLAY + 4096, PF_PROT | PF_USER | PF_RSVD | NPF_FINAL);
	GUEST_ASSERT_DONE(NPT_READ, NPT_PLAY);
	guest_done();
}

TEST(address_beyond_the_width)
{
	struct vm *vm = vm_of_width(36, guest_narrow);

	RUN_UNTIL(vm->vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(vm->vcpu->run->mmio.phys_addr, 1ull << 35);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/*
 * L2's CR3 in the uppermost bits that CPUID allows: the CPU refuses the entry, or finds nothing
 * there. (Bochs, known by its CR2, drops the bits.)
 */
static void guest_high_cr3(void)
{
	u64 i, code;

	npt_guest_init(&npt, NPT_4LEVEL);
	for (i = 0; i < 100; i++) {
		svm_vmcb.tlb_ctl = 1;
		svm_vmcb.cr3 = read_cr3() | 1ull << 51;
		code = npt_access(NPT_READ, GPA_HEAP);
		GUEST_ASSERT(code == ~0ull || code == EXIT_NPF || (guest_loses_cr2 && code == SVM_EXIT_VMMCALL));
		svm_vmcb.cr3 = read_cr3();
		GUEST_ASSERT_DONE(NPT_READ, GPA_HEAP);
	}
	guest_done();
}

TEST(root_beyond_the_hosts_width)
{
	struct vm *vm = vm_of_width(52, guest_high_cr3);

	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/*
 * L2 touches so many tables of L1's that there are more pages in use than are given back for one
 * fault; then it goes on with other tables.
 */
#define TABLES	300

static void guest_new_root(void)
{
	u64 i, table, page;

	npt_guest_init(&other, NPT_4LEVEL);
	npt_guest_init(&npt, NPT_4LEVEL);
	table = npt_page();
	page = npt_page();
	*(volatile u64 *)(page + 8) = 7;
	for (i = 0; i < 512; i++)
		((volatile u64 *)table)[i] = page | NPT_RWX;
	for (i = 0; i < TABLES; i++)
		npt_set(&npt, NPT_PLAY + i * (2 << 20), 1, page | NPT_RWX);
	npt_set(&other, NPT_PLAY, 2, table | NPT_RWX);
	for (i = 0; i < TABLES; i++)
		GUEST_ASSERT_DONE(NPT_READ, NPT_PLAY + i * (2 << 20) + 8);
	guest_sync(1);
	svm_vmcb.ncr3 = other.root;
	svm_vmcb.tlb_ctl = 1;
	for (i = 0; i < 512; i++)
		GUEST_ASSERT_DONE(NPT_READ, NPT_PLAY + i * 4096 + 8);
	GUEST_ASSERT_EQ(npt_value, 7);
	guest_done();
}

TEST(root_after_the_limit_fell)
{
	struct vm *vm;

	need_npt();
	NEED_CAP(KVM_CAP_MMU_SHADOW_CACHE_CONTROL);
	vm = vm_create(1);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, (void *)1000), 0);
	vcpu_set_long(vm->vcpu, guest_new_root, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, (void *)64), 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/* As when a device's BAR is moved */
#define PLACES	400
#define FIRST	(1ull << 32)

static volatile u64 place;

static void guest_places(void)
{
	npt_guest_init(&npt, NPT_4LEVEL);
	svm_vmcb.tlb_ctl = 1;
	for (;;) {
		npt_set(&npt, NPT_PLAY, 1, place | NPT_RWX);
		GUEST_ASSERT_DONE(NPT_READ, NPT_PLAY);
		guest_sync(npt_value);
	}
}

/* Objects of the size of a list */
static unsigned long slab_objects(void)
{
	unsigned long n = 0, sum = 0;
	char line[512];
	FILE *f = fopen("/proc/slabinfo", "r");

	REQUIRE(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "kmalloc-4k %lu", &n) == 1 ||
		    sscanf(line, "kmalloc-cg-4k %lu", &n) == 1)
			sum += n;
	fclose(f);
	return sum;
}

TEST(slot_at_many_places)
{
	u64 *mem = host_alloc(SIZE, SIZE), i;
	unsigned long before = 0;
	struct vm *vm;

	need_npt();
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_places, 0);
	for (i = 0; i < PLACES; i++) {
		/* The first few have what is there once. */
		if (i == 10)
			before = slab_objects();
		mem[0] = i;
		*guest_var(vm, &place) = FIRST + i * SIZE;
		REQUIRE_EQ(vm_set_slot(vm, 1, 0, FIRST + i * SIZE, SIZE, mem), 0);
		RUN_UNTIL_SYNC(vm->vcpu, i);
	}
	tap_note("%ld objects more", (long)(slab_objects() - before));
	CHECK((long)(slab_objects() - before) < PLACES / 2);
	vm_destroy(vm);
}
