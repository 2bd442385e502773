// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_GET_STATS_FD: a read-only file of header, id, descriptors and data, as api.rst lays them out.
 */
#include "arch.h"
#include "virt.h"

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#define NAME_SIZE	48

/*
 * struct kvm_stats_desc as userspace sees it: headers disagree about the size of its name within
 * the kernel.
 */
struct stat_desc {
	u32 flags;
	s16 exponent;
	u16 size;
	u32 offset;
	u32 bucket_size;
	char name[NAME_SIZE];
};

static_assert(offsetof(struct stat_desc, offset) == offsetof(struct kvm_stats_desc, offset));
static_assert(offsetof(struct stat_desc, name) == offsetof(struct kvm_stats_desc, name));

#define DESC(struct_name, field, type, unit) {							\
	.flags	= KVM_STATS_TYPE_##type | KVM_STATS_UNIT_##unit | KVM_STATS_BASE_POW10,	\
	.size	= 1,									\
	.offset	= offsetof(struct struct_name, field),					\
	.name	= #field,								\
},
#define S(field, type, unit) DESC(virt_vm_stats, field, type, unit)
static const struct stat_desc vm_desc[] = { VIRT_VM_STATS(S) };
#undef S
#define S(field, type, unit) DESC(virt_vcpu_stats, field, type, unit)
static const struct stat_desc vcpu_desc[] = { VIRT_VCPU_STATS(S) };
#undef S

/**
 * struct stats_file - an open statistics descriptor
 * @vm: kept alive
 * @id: text of the id block
 * @desc: descriptors
 * @nr: how many
 * @data: the counters
 */
struct stats_file {
	struct virt_vm *vm;
	const char *id;
	const struct stat_desc *desc;
	unsigned int nr;
	const void *data;
};

/* Copy the part of a block that lies in [*pos, *pos + *left) of the file. */
static int copy_block(const void *block, size_t at, size_t size, char __user **to, size_t *left,
		      loff_t *pos)
{
	size_t skip, n;

	if (*pos >= at + size || !*left)
		return 0;
	skip = *pos - at;
	n = min(size - skip, *left);
	if (copy_to_user(*to, block + skip, n))
		return -EFAULT;
	*to += n;
	*left -= n;
	*pos += n;
	return 0;
}

static ssize_t stats_read(struct file *file, char __user *to, size_t left, loff_t *ppos)
{
	const struct stats_file *f = file->private_data;
	struct kvm_stats_header head = {
		.name_size	= NAME_SIZE,
		.num_desc	= f->nr,
		.id_offset	= sizeof(head),
		.desc_offset	= sizeof(head) + NAME_SIZE,
		.data_offset	= sizeof(head) + NAME_SIZE + f->nr * sizeof(*f->desc),
	};
	char __user *start = to;
	loff_t pos = *ppos;

	if (pos < 0)
		return -EINVAL;
	arch_vm_stats(f->vm);
	if (copy_block(&head, 0, sizeof(head), &to, &left, &pos) ||
	    copy_block(f->id, head.id_offset, NAME_SIZE, &to, &left, &pos) ||
	    copy_block(f->desc, head.desc_offset, f->nr * sizeof(*f->desc), &to, &left, &pos) ||
	    copy_block(f->data, head.data_offset, f->nr * sizeof(u64), &to, &left, &pos))
		return -EFAULT;
	*ppos = pos;
	return to - start;
}

static int stats_release(struct inode *inode, struct file *file)
{
	struct stats_file *f = file->private_data;

	virt_vm_put(f->vm);
	kfree(f);
	return 0;
}

static const struct file_operations stats_fops = {
	.owner		= THIS_MODULE,
	.read		= stats_read,
	.llseek		= noop_llseek,
	.release	= stats_release,
};

static long stats_fd(const struct stats_file *template, const char *name)
{
	struct stats_file *f;
	struct file *file;
	int fd;

	f = kmemdup(template, sizeof(*f), GFP_KERNEL_ACCOUNT);
	if (!f)
		return -ENOMEM;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		kfree(f);
		return fd;
	}
	file = anon_inode_getfile(name, &stats_fops, f, O_RDONLY);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		kfree(f);
		return PTR_ERR(file);
	}
	virt_vm_get(f->vm);
	file->f_mode |= FMODE_PREAD;
	fd_install(fd, file);
	return fd;
}

long virt_vm_stats_fd(struct virt_vm *vm)
{
	const struct stats_file f = {
		.vm = vm, .id = vm->stats_id, .desc = vm_desc, .nr = ARRAY_SIZE(vm_desc), .data = &vm->stats,
	};

	return stats_fd(&f, "kvm-vm-stats");
}

long virt_vcpu_stats_fd(struct virt_vcpu *v)
{
	const struct stats_file f = {
		.vm = v->vm, .id = v->stats_id, .desc = vcpu_desc, .nr = ARRAY_SIZE(vcpu_desc), .data = &v->stats,
	};

	return stats_fd(&f, "kvm-vcpu-stats");
}
