// SPDX-License-Identifier: GPL-2.0
/*
 * RDMSR and WRMSR, KVM_GET/SET_MSRS, the lists of MSRs and the filter.
 *
 * The table (msr_table.c) is asked first, the backend for what it does not have. In a batch the
 * first failure ends the batch; its number is the ioctl's result.
 */
#include <linux/compat.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/msr-index.h>
#include <asm/msr.h>

#include "../backend.h"
#include "../smm/smram.h"
#include "../strata.h"
#include "rows.h"
#include "../../../include/compat/cpu.h"

#define MSR_MAX_BATCH	256
#define FILTER_MAX_BITS	(KVM_MSR_FILTER_MAX_BITMAP_SIZE * 8)

/* Arch-capability bits that tell the guest about the CPU and need nothing from here */
#define ARCH_CAP_HONOURED \
	(ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL | ARCH_CAP_RSBA | ARCH_CAP_SKIP_VMENTRY_L1DFLUSH | ARCH_CAP_SSB_NO | \
	 ARCH_CAP_MDS_NO | ARCH_CAP_PSCHANGE_MC_NO | ARCH_CAP_TAA_NO | ARCH_CAP_SBDR_SSDP_NO | ARCH_CAP_FBSDP_NO | \
	 ARCH_CAP_PSDP_NO | ARCH_CAP_FB_CLEAR | ARCH_CAP_RRSBA | ARCH_CAP_BHI_NO | ARCH_CAP_PBRSB_NO | ARCH_CAP_GDS_NO | \
	 ARCH_CAP_RFDS_NO | ARCH_CAP_RFDS_CLEAR)

/* State that the backend holds */
static const u32 backend_msrs[] = {
	MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP, MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SYSCALL_MASK,
	MSR_KERNEL_GS_BASE,
};

static u64 *row_field(struct vcpu *v, const struct msr_row *row)
{
	return (void *)&v->cpu + row->offset;
}

/* What the guest's CPUID does not show is not there; userspace may always look. */
static bool guest_sees(struct vcpu *v, const struct msr_row *row)
{
	if (row->feature != MSR_ALWAYS && !guest_has(v, row->feature))
		return false;
	if (row->flags & (MSR_ROW_AMD | MSR_ROW_INTEL))
		return !!(row->flags & MSR_ROW_AMD) == guest_has(v, GUEST_AMD);
	return true;
}

int msr_get(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	const struct msr_row *row = msr_row_find(msr);

	if (!row)
		return backend_call(get_msr)(v, msr, val, host);
	if ((row->flags & MSR_ROW_WRONLY) || (!host && !guest_sees(v, row)))
		return 1;
	if (row->get)
		return row->get(v, msr, val, host);
	*val = row->flags & MSR_ROW_ZERO ? 0 : *row_field(v, row);
	return 0;
}

bool msr_get_plain(struct vcpu *v, u32 msr, u64 *val)
{
	const struct msr_row *row = msr_row_find(msr);

	if (!row || row->get || (row->flags & MSR_ROW_WRONLY) || !guest_sees(v, row))
		return false;
	*val = row->flags & MSR_ROW_ZERO ? 0 : *row_field(v, row);
	return true;
}

bool msr_address_ok(const struct vcpu *v, u64 val, bool host)
{
	return linear_canonical(val, host ? guest_has(v, GUEST_LA57) : v->cr4 & X86_CR4_LA57);
}

int msr_set(struct vcpu *v, u32 msr, u64 val, bool host)
{
	const struct msr_row *row = msr_row_find(msr);
	int ret = 0;

	if (!row)
		return backend_call(set_msr)(v, msr, val, host);
	if (!host && ((row->flags & MSR_ROW_RDONLY) || !guest_sees(v, row)))
		return 1;
	if (row->set) {
		ret = row->set(v, msr, val, host);
	} else {
		if (val & ~row->mask)
			return 1;
		if (!(row->flags & MSR_ROW_ZERO))
			*row_field(v, row) = val;
	}
	if (!ret && (row->flags & MSR_ROW_TELL))
		backend_call(set_msr)(v, msr, val, host);
	return ret;
}

bool msr_allowed(struct vcpu *v, u32 msr, bool write)
{
	struct virt_vm *vm = v->virt.vm;

	return msr_filter_allows(srcu_dereference(to_vm(vm)->cpu.msr_filter, &vm->srcu), msr,
				 write);
}

int msr_feature_get(u32 msr, u64 *val)
{
	*val = 0;
	switch (msr) {
	case MSR_IA32_ARCH_CAPABILITIES:
		if (boot_cpu_has(X86_FEATURE_ARCH_CAPABILITIES) && !rdmsrl_safe(msr, val))
			*val &= ARCH_CAP_HONOURED;
		return 0;
	case MSR_IA32_UCODE_REV:
		return rdmsrl_safe(msr, val) ? -ENOENT : 0;
	case MSR_AMD64_DE_CFG:
		if (boot_cpu_has(X86_FEATURE_LFENCE_RDTSC))
			*val = BIT(1);
		return 0;
	}
	return -ENOENT;
}

void msr_reset(struct vcpu *v, bool init)
{
	struct vcpu_cpu *c = &v->cpu;

	c->debugctl = 0;
	if (init)
		return;
	c->smbase = SMBASE_RESET;
	c->smi_count = 0;
	c->pat = 0x0007040600070406;
	c->misc_enable = MSR_IA32_MISC_ENABLE_FAST_STRING | MSR_IA32_MISC_ENABLE_BTS_UNAVAIL |
			 MSR_IA32_MISC_ENABLE_PEBS_UNAVAIL;
	c->xss = 0;
	c->spec_ctrl = 0;
	c->virt_spec_ctrl = 0;
	c->tsc_aux = 0;
	c->feature_control = 0;
	c->hwcr = 0;
	memset(&c->mtrr, 0, sizeof(c->mtrr));
	msr_feature_get(MSR_AMD64_DE_CFG, &c->de_cfg);
	msr_feature_get(MSR_IA32_ARCH_CAPABILITIES, &c->arch_capabilities);
	msr_feature_get(MSR_IA32_UCODE_REV, &c->microcode);
}

static int vcpu_access(struct vcpu *v, struct kvm_msr_entry *e, bool write)
{
	return write ? msr_set(v, e->index, e->data, true) : msr_get(v, e->index, &e->data, true);
}

static int feature_access(struct vcpu *v, struct kvm_msr_entry *e, bool write)
{
	return msr_feature_get(e->index, &e->data);
}

static long msr_batch(struct vcpu *v, unsigned long raw, bool write,
		      int (*access)(struct vcpu *v, struct kvm_msr_entry *e, bool write))
{
	struct kvm_msrs __user *user = (void __user *)raw;
	struct kvm_msr_entry *entry;
	struct kvm_msrs head;
	size_t size;
	long i;

	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	if (head.nmsrs >= MSR_MAX_BATCH)
		return -E2BIG;
	size = array_size(head.nmsrs, sizeof(*entry));
	entry = memdup_user(user->entries, size);
	if (IS_ERR(entry))
		return PTR_ERR(entry);
	for (i = 0; i < head.nmsrs; i++)
		if (access(v, &entry[i], write))
			break;
	if (!write && copy_to_user(user->entries, entry, size))
		i = -EFAULT;
	kfree(entry);
	return i;
}

static long get_msrs(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	return msr_batch(to_vcpu(vv), raw, false, vcpu_access);
}

static long set_msrs(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	return msr_batch(to_vcpu(vv), raw, true, vcpu_access);
}

static long get_feature_msrs(void *data, unsigned long raw)
{
	return msr_batch(NULL, raw, false, feature_access);
}

const struct ioctl_row msr_vcpu_ioctls[] = {
	{ KVM_GET_MSRS, IOCTL_RAW | IOCTL_LOAD | IOCTL_SRCU, .vcpu = get_msrs },
	{ KVM_SET_MSRS, IOCTL_RAW | IOCTL_LOAD | IOCTL_SRCU, .vcpu = set_msrs },
};
const unsigned int msr_nr_vcpu_ioctls = ARRAY_SIZE(msr_vcpu_ioctls);

/* A list row is offered if the host can: guests could be given it. */
static bool host_offers(const struct msr_row *row)
{
	if (row->flags & MSR_ROW_AMD)
		return boot_cpu_data.x86_vendor == X86_VENDOR_AMD ||
		       boot_cpu_data.x86_vendor == X86_VENDOR_HYGON;
	return row->feature == MSR_ALWAYS || cpuid_host_has(row->feature);
}

static u32 collect(u32 *list, u8 flag)
{
	const struct msr_row *row;
	u32 nr = 0, msr, i;
	u64 val;

	for (i = 0; i < msr_table_nr; i++) {
		row = &msr_table[i];
		if (!(row->flags & flag))
			continue;
		if (flag == MSR_ROW_SAVE ? !host_offers(row) : !!msr_feature_get(row->first, &val))
			continue;
		for (msr = row->first; msr <= row->last; msr++, nr++)
			if (list)
				list[nr] = msr;
	}
	for (i = 0; flag == MSR_ROW_SAVE && i < ARRAY_SIZE(backend_msrs); i++, nr++)
		if (list)
			list[nr] = backend_msrs[i];
	for (i = 0; flag == MSR_ROW_SAVE && i < backend_caps.nr_nested_msrs; i++, nr++)
		if (list)
			list[nr] = backend_caps.nested_msrs[i];
	return nr;
}

static long get_list(unsigned long raw, u8 flag)
{
	struct kvm_msr_list __user *user = (void __user *)raw;
	u32 room, nr, *list;
	long ret = 0;

	if (get_user(room, &user->nmsrs))
		return -EFAULT;
	nr = collect(NULL, flag);
	/* The number is written even where there is not enough room: userspace asks twice. */
	if (put_user(nr, &user->nmsrs))
		return -EFAULT;
	if (room < nr)
		return -E2BIG;
	list = kcalloc(nr, sizeof(*list), GFP_KERNEL);
	if (!list)
		return -ENOMEM;
	collect(list, flag);
	if (copy_to_user(user->indices, list, array_size(nr, sizeof(*list))))
		ret = -EFAULT;
	kfree(list);
	return ret;
}

static long get_msr_index_list(void *data, unsigned long raw)
{
	return get_list(raw, MSR_ROW_SAVE);
}

static long get_msr_feature_index_list(void *data, unsigned long raw)
{
	return get_list(raw, MSR_ROW_FEATURE);
}

const struct ioctl_row msr_dev_ioctls[] = {
	{ KVM_GET_MSRS,                   IOCTL_RAW, .dev = get_feature_msrs },
	{ KVM_GET_MSR_INDEX_LIST,         IOCTL_RAW, .dev = get_msr_index_list },
	{ KVM_GET_MSR_FEATURE_INDEX_LIST, IOCTL_RAW, .dev = get_msr_feature_index_list },
};
const unsigned int msr_nr_dev_ioctls = ARRAY_SIZE(msr_dev_ioctls);

static void filter_free(struct msr_filter *f)
{
	unsigned int i;

	for (i = 0; f && i < f->nr; i++)
		kfree(f->range[i].bitmap);
	kfree(f);
}

static int filter_add(struct msr_filter *f, const struct kvm_msr_filter_range *user)
{
	struct msr_range *r = &f->range[f->nr];

	if (!user->nmsrs)
		return 0;
	if ((user->flags & ~KVM_MSR_FILTER_RANGE_VALID_MASK) || !user->flags ||
	    user->nmsrs > FILTER_MAX_BITS)
		return -EINVAL;
	r->bitmap =
		memdup_user((void __user *)user->bitmap, BITS_TO_LONGS(user->nmsrs) * sizeof(long));
	if (IS_ERR(r->bitmap))
		return PTR_ERR(r->bitmap);
	r->flags = user->flags;
	r->base = user->base;
	r->nmsrs = user->nmsrs;
	f->nr++;
	return 0;
}

/* NULL if there is nothing to filter. */
static struct msr_filter *filter_build(const struct kvm_msr_filter *user)
{
	struct msr_filter *f;
	unsigned int i;
	int ret = 0;

	if (user->flags & ~KVM_MSR_FILTER_VALID_MASK)
		return ERR_PTR(-EINVAL);
	f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
	if (!f)
		return ERR_PTR(-ENOMEM);
	f->default_deny = user->flags & KVM_MSR_FILTER_DEFAULT_DENY;
	for (i = 0; !ret && i < ARRAY_SIZE(user->ranges); i++)
		ret = filter_add(f, &user->ranges[i]);
	/* Denying everything is not what anybody means. */
	if (!ret && f->default_deny && !f->nr)
		ret = -EINVAL;
	if (!ret && f->nr)
		return f;
	filter_free(f);
	return ERR_PTR(ret);
}

static long set_msr_filter(struct virt_vm *vm, void *data, unsigned long raw)
{
	struct msr_filter *f = filter_build(data), *old;

	if (IS_ERR(f))
		return PTR_ERR(f);
	old = unrcu_pointer(xchg(&to_vm(vm)->cpu.msr_filter, (struct msr_filter __force __rcu *)f));
	virt_request_all(vm, REQ_MSR_FILTER);
	synchronize_srcu(&vm->srcu);
	filter_free(old);
	return 0;
}

/* What a 32-bit program passes: its pointers make another size, and so another command. */
struct filter32_range {
	u32 flags, nmsrs, base;
	compat_uptr_t bitmap;
};

struct filter32 {
	u32 flags;
	struct filter32_range ranges[KVM_MSR_FILTER_MAX_RANGES];
};

static long set_msr_filter32(struct virt_vm *vm, void *data, unsigned long raw)
{
	const struct filter32 *user = data;
	struct kvm_msr_filter f = { .flags = user->flags };
	unsigned int i;

	if (!in_compat_syscall())
		return -ENOTTY;
	for (i = 0; i < ARRAY_SIZE(f.ranges); i++) {
		const struct filter32_range *r = &user->ranges[i];

		f.ranges[i] = (struct kvm_msr_filter_range) {
			.flags	= r->flags,
			.nmsrs	= r->nmsrs,
			.base	= r->base,
			.bitmap	= (__force __u8 *)compat_ptr(r->bitmap),
		};
	}
	return set_msr_filter(vm, &f, raw);
}

void msr_vm_destroy(struct vm *vm)
{
	filter_free(rcu_dereference_protected(vm->cpu.msr_filter, true));
}

const struct ioctl_row msr_vm_ioctls[] = {
	{ KVM_X86_SET_MSR_FILTER, 0, .vm = set_msr_filter },
	{ _IOW(KVMIO, 0xc6, struct filter32), 0, .vm = set_msr_filter32 },
};
const unsigned int msr_nr_vm_ioctls = ARRAY_SIZE(msr_vm_ioctls);
