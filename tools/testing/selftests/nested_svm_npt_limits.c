// SPDX-License-Identifier: GPL-2.0
/*
 * What: L1's nested page tables name addresses that CPUID allows and the VM's own tables do not reach.
 * Conditions: guests are offered SVM with nested paging.
 * Expected: such addresses are no memory, and no other memory shows there.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "npt.h"

#define SIZE	(2ull << 20)
#define LOW	0x10000000ull
#define FAR	(1ull << 48 | LOW)	/* as LOW, to whoever looks at 48 bits */

static struct npt npt;

static void set_width(struct vm *vm, u32 bits)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(vm->kvm);
	struct kvm_cpuid_entry2 *e = cpuid_entry(cpuid, 0x80000008, 0);

	REQUIRE(e);
	e->eax = (e->eax & ~0xff) | bits;
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
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
	struct vm *vm;

	need_npt();
	vm = vm_create(1);
	set_width(vm, 52);
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, LOW, SIZE, mem), 0);
	vcpu_set_long(vm->vcpu, guest_far, 0);
	for (i = 1; i <= 3; i++) {
		mem[0] = i;
		RUN_UNTIL_SYNC(vm->vcpu, i);
		far_is_mmio(vm);
		far_is_mmio(vm);
		REQUIRE(!madvise(mem, SIZE, MADV_DONTNEED));
	}
	vm_destroy(vm);
}
