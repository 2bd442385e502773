// SPDX-License-Identifier: GPL-2.0
/*
 * Moving between modules; see exchange.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "exchange.h"
#include "module.h"
#include "npt.h"
#include "../../../../include/uapi/linux/strata.h"

/* ---- modules ---- */

static struct module lists[2][MAX_MODULES];
static int nr[2];
static enum exchange_module loaded;

void exchange_use(enum exchange_module which)
{
	int i, r;

	if (which == loaded)
		return;
	for (i = nr[loaded] - 1; i >= 0; i--)
		REQUIRE_EQ(module_unload_patiently(&lists[loaded][i]), 0);
	for (i = 0; i < nr[which]; i++) {
		r = module_load(&lists[which][i]);
		REQUIRE(!r || r == -EEXIST);
	}
	loaded = which;
}

enum exchange_module exchange_loaded(void)
{
	return loaded;
}

void exchange_need(void)
{
	STRATA_ONLY("the test loads the other module itself");
	need_npt();
	nr[STRATA] = module_list("/modules/list", lists[STRATA]);
	nr[INTREE] = module_list("/modules-intree/list", lists[INTREE]);
	if (!nr[STRATA] || !nr[INTREE])
		tap_skip("no modules to load");
	loaded = STRATA;
}

/* ---- state ---- */

static const u32 msrs[] = {
	MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK, MSR_KERNEL_GS_BASE, MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_PAT,
	MSR_VM_HSAVE_PA,
};
_Static_assert(sizeof(msrs) / sizeof(msrs[0]) == EXCHANGE_MSRS, "as many as the image has");

struct exchange_image exchange_image;
#define image exchange_image

void exchange_save(struct vcpu *vcpu)
{
	unsigned int m;

	memset(&image, 0, sizeof(image));
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &image.events);
	xioctl(vcpu->fd, KVM_GET_MP_STATE, &image.mp);
	xioctl(vcpu->fd, KVM_GET_REGS, &image.regs);
	xioctl(vcpu->fd, KVM_GET_XSAVE, &image.xsave);
	xioctl(vcpu->fd, KVM_GET_XCRS, &image.xcrs);
	xioctl(vcpu->fd, KVM_GET_SREGS, &image.sregs);
	xioctl(vcpu->fd, KVM_GET_DEBUGREGS, &image.debugregs);
	for (m = 0; m < EXCHANGE_MSRS; m++)
		REQUIRE_EQ(vcpu_get_msr(vcpu, msrs[m], &image.msr[m]), 1);
	image.nested.size = sizeof(image.bytes);
	xioctl(vcpu->fd, KVM_GET_NESTED_STATE, &image.nested);
}

static void restore(struct vcpu *vcpu)
{
	unsigned int m;

	/* What strata adds is for strata. */
	if (loaded == INTREE)
		memset(image.events.reserved, 0, sizeof(image.events.reserved));
	xioctl(vcpu->fd, KVM_SET_SREGS, &image.sregs);
	for (m = 0; m < EXCHANGE_MSRS; m++)
		REQUIRE_EQ(vcpu_set_msr(vcpu, msrs[m], image.msr[m]), 1);
	xioctl(vcpu->fd, KVM_SET_XCRS, &image.xcrs);
	xioctl(vcpu->fd, KVM_SET_XSAVE, &image.xsave);
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &image.events);
	xioctl(vcpu->fd, KVM_SET_MP_STATE, &image.mp);
	xioctl(vcpu->fd, KVM_SET_DEBUGREGS, &image.debugregs);
	xioctl(vcpu->fd, KVM_SET_REGS, &image.regs);
	xioctl(vcpu->fd, KVM_SET_NESTED_STATE, &image.nested);
}

static struct vm *create(u8 *mem, bool each)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_EXCEPTION_PAYLOAD, .args = { 1 } };
	struct vm *vm = mem ? vm_create_bare(0) : vm_create(0);
	struct kvm_cpuid2 *cpuid = supported_cpuid(vm->kvm);

	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	cap.cap = STRATA_CAP_EXIT_EACH;
	if (each)
		xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	vcpu_create(vm, 0);
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	if (!mem)
		return vm;
	vm->mem = mem;
	vm->next_table = GPA_STACKS;
	REQUIRE_EQ(vm_set_slot(vm, 0, 0, 0, SLOT0_SIZE, mem), 0);
	return vm;
}

struct vm *exchange_create(bool each)
{
	return create(NULL, each);
}

struct vm *exchange_move(struct vm *vm, enum exchange_module which)
{
	u8 *mem = vm->mem;

	REQUIRE_EQ(vcpu_run_nothing(vm->vcpu), -EINTR);
	exchange_save(vm->vcpu);
	vm->mem = NULL;
	vm_destroy(vm);
	exchange_use(which);
	vm = create(mem, false);
	restore(vm->vcpu);
	return vm;
}
